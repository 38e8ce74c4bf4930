-- Bring counters back as the last snapshot has them, where there are none; what is there stays.
-- KEYS strings: states of subjects (see common.lua)
-- ARGV[1] the epoch in which this is right, or '' before one has begun: in any other nothing is done
-- ARGV[2..] two for each subject: its state, JSON, and the milliseconds that it lives
-- Returns how many were brought back, or -1 in another epoch
if (redis.call('GET', 'smm:limits:epoch') or '') ~= ARGV[1] then return -1 end
local brought = 0
for place, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[2 * place], 'PX', ARGV[2 * place + 1], 'NX') then brought = brought + 1 end
end
return brought
