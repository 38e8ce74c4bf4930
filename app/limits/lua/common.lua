-- What the scripts of the limiter share; it is put in front of each of them.
--
-- A subject's state is one string, JSON, at smm:limits:of:SUBJECT; it lives ten minutes longer than its longest window:
--   {"v": revision, "l": {LIMIT: counter}, "q": {LANE: rank}, "h": [pass, lane, ...]}
-- A counter of a calendar window, amounts in whole units of its currency, times in milliseconds since 1970:
--   s, e  start and end of the window    u  used    m  the most that was used, where some of it was given back
--   r, d  tries refused and deferred     n  crossings that were told    x  blocked until
--   c     capacity, where the platform says less than we do    o  the window before: {s, e, u, m, r, d}
-- A counter of a rolling window, kept in buckets of equal width, so that nothing is ever forgotten early:
--   w     width of a bucket    f  number of the first one (time / w)    b  used in each one, from the first on
--   r, d, n, x, c  as above
-- "q" says, by limit or operation that work waits for, the most urgent class (0 to 3) that waits: whoever is as urgent or
-- less, and needs the same, waits behind it. "h" is what had to stay in the present pass of a release.
local SUBJECT, KEPT = 15, 600000 -- where the subject begins in the key of its state; milliseconds
local time = redis.call('TIME')
local now_text = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
local now = tonumber(now_text)

-- The window that `now` is in: a calendar counter whose window is over becomes the window before.
local function calendar(counters, name, from, to)
  local counter = counters[name]
  if not counter or counter.w then
    counter = {s = from, e = to, u = 0}
    counters[name] = counter
  elseif from > counter.s then -- a window of the future stays: the server's clock was set back
    local before
    if counter.u > 0 or counter.r or counter.d then
      before = {s = counter.s, e = counter.e, u = counter.u, m = counter.m, r = counter.r, d = counter.d}
    end
    counter = {s = from, e = to, u = 0, x = counter.x, o = before}
    counters[name] = counter
  end
  return counter
end

-- The counter without the buckets that are too old, and what is used in the others.
local function rolling(counters, name, width, buckets)
  local counter, sum = counters[name], 0
  if not counter or counter.w ~= width then -- what was counted in another width is kept in the newest bucket
    if counter then
      sum = counter.u or 0
      for _, used in ipairs(counter.b or {}) do sum = sum + used end
    end
    local b = sum > 0 and {sum} or nil
    counter = {w = width, f = math.floor(now / width), b = b, x = counter and counter.x, c = counter and counter.c}
    counters[name] = counter
    return counter, sum
  end
  local kept = counter.b
  if not kept then return counter, 0 end
  local stale = math.floor(now / width) - buckets + 1 - counter.f
  if stale > 0 then
    local left
    for place = stale + 1, #kept do
      if left then
        left[#left + 1] = kept[place]
      elseif kept[place] > 0 then
        left, counter.f = {kept[place]}, counter.f + place - 1
      end
    end
    kept, counter.b = left, left
    if not kept then return counter, 0 end
  end
  for place = 1, #kept do sum = sum + kept[place] end
  return counter, sum
end

-- `last` is the end of its longest window. What is `passing` need not outlive its windows, nor a loss of Redis.
local function save(key, state, last, passing)
  state.v = state.v + 1
  redis.call('SET', key, cjson.encode(state), 'PX', math.max(last - now, 1) + (passing and 0 or KEPT))
  if not passing then redis.call('SADD', 'smm:limits:changed', key:sub(SUBJECT)) end
end
