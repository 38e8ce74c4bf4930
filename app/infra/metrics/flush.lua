-- Add one process's counts to the shared hash, once, however often the batch is sent.
-- KEYS[1] the hash of all counts           field: JSON [name, [label values], part]; value: float; no TTL
-- KEYS[2] this process's last batch number  TTL ARGV[2]
-- ARGV[1] batch number   ARGV[2] TTL in seconds   ARGV[3..] field, amount, field, amount, ...
-- Returns 1 when added, 0 when this batch had been added before (its answer was lost on the way).
if redis.call('GET', KEYS[2]) == ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for i = 3, #ARGV, 2 do
  redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
