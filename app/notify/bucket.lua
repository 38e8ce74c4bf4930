-- Take a place in the token bucket of one destination, or put everybody off from it. The bucket is kept as the moment
-- at which it will be full again (GCRA), so that it needs no refilling; the clock is the server's own.
-- KEYS[1] hash: "full" and "until", microseconds since 1970; the TTL is what is left of the longer one, and a minute
-- ARGV[1] microseconds between messages in the long run   ARGV[2] messages at once   ARGV[3] microseconds to put off, or 0
-- ARGV[4] microseconds that a wait may last at most: a clock that was set back must not silence anybody for longer
-- Returns microseconds to wait; 0: go, the place is taken. When putting off: the microseconds put off.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local put_off, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = redis.call('HMGET', KEYS[1], 'full', 'until')
local latest = now + longest
local full = math.min(tonumber(kept[1]) or 0, latest + burst * interval)
local blocked = math.min(tonumber(kept[2]) or 0, latest)

local function keep(field, moment, last)
  redis.call('HSET', KEYS[1], field, string.format('%.0f', moment))
  redis.call('PEXPIRE', KEYS[1], math.ceil((math.max(last, moment) - now) / 1000) + 60000)
end

if put_off > 0 then
  keep('until', math.max(blocked, math.min(now + put_off, latest)), full)
  return put_off
end
local start = math.max(now, full, blocked > 0 and blocked + (burst - 1) * interval or 0)
local wait = start - (burst - 1) * interval - now
if wait > 0 then
  return math.ceil(wait)
end
keep('full', start + interval, blocked)
return 0
