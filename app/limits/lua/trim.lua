-- Take from a list what was read of it.
-- KEYS[1] list   ARGV[1] the last element that was read: it goes, and whatever is before it
-- Returns how many went. The list's head may have been taken meanwhile, when it was too long
local place = redis.call('LPOS', KEYS[1], ARGV[1])
if not place then return 0 end
redis.call('LTRIM', KEYS[1], place + 1, -1)
return place + 1
