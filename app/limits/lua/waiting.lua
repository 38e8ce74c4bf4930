-- Remember that the work of an id waits, so that a retry is told so; or forget it.
-- KEYS[1] string: what was decided under this id (see decide.lua): {"w":1,"o":OPERATION} while it waits
-- ARGV[1] milliseconds to remember it, 0 to forget it   ARGV[2] the operation
-- Returns 1 where that was done; 0 where something was decided under this id, which stays, or where nothing waited
local record = redis.call('GET', KEYS[1])
local waits = record and record:sub(1, 4) == '{"w"'
if ARGV[1] == '0' then return waits and redis.call('DEL', KEYS[1]) or 0 end
if record and not waits then return 0 end
redis.call('SET', KEYS[1], '{"w":1,"o":' .. cjson.encode(ARGV[2]) .. '}', 'PX', ARGV[1])
return 1
