-- Purpose: unlink those of the given keys that lie under a prefix and were not used for a while, all in one step, so
--   that nobody can use a key between the question how long it has rested and its end.
-- KEYS: names, as SCAN gave them. ARGV[1]: the prefix. ARGV[2]: least idle time in seconds.
-- Returns the number of keys unlinked. Sets no TTL. OBJECT IDLETIME does not count as a use.
local prefix, least = ARGV[1], tonumber(ARGV[2])
local gone = 0
for _, key in ipairs(KEYS) do
  if string.sub(key, 1, #prefix) == prefix then
    local idle = redis.call('OBJECT', 'IDLETIME', key)
    if idle and idle >= least then
      gone = gone + redis.call('UNLINK', key)
    end
  end
end
return gone
