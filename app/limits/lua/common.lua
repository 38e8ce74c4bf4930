-- What the scripts of the limiter share; it is put in front of each of them.
--
-- A subject's state is one string, JSON, at smm:limits:of:SUBJECT; it lives ten minutes longer than its longest window:
--   {"v": revision, "t": end of its last window, "l": {LIMIT: counter}, "q": {LANE: rank}, "h": [pass, LANE, ...]}
-- A revision begins with the time, so that a state that was forgotten and comes anew is newer than it was. A counter of
-- a calendar window, amounts in whole units of its currency, times in milliseconds since 1970:
--   s, e  start and end of the window    u  used    m  the most that was used, where some of it was given back
--   r, d  tries refused and deferred     n  crossings that were told, each once a window    x  blocked until
--   c     capacity, where the platform says less than we do    o  the window before: {s, e, u, m, r, d}
-- A counter of a rolling window, kept in buckets of equal width, so that nothing is ever forgotten early:
--   w     width of a bucket    f  number of the first one (time / w)    b  used in each one, from the first on
--   r, d, x, c  as above       n  as above, but anew once the use fell below nine tenths of the first crossing
-- A counter of money has also (see adjust.lua, spend.lua):
--   h, q, i  of what is used: reserved; settled by a report; recorded, and still in the stream    y  when the last
--   lease of what is reserved ends    k  the capacity for which n was told
-- "q" says, by limit or operation that work waits for, the most urgent class (0 to 3) that waits: whoever is as urgent
-- or less, and needs the same, waits behind it; a state with it lives an hour at least. "h" is what had to stay in the
-- present pass of a release. Amounts have at most 14 digits: that is what the encoder of JSON writes in full.
local SUBJECT, KEPT = 15, 600000 -- where the subject begins in the key of its state; milliseconds
local time = redis.call('TIME')
local now_text = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
local now = tonumber(now_text)

-- The counter of the window that `now` is in, and what is used: a window that is over becomes the window before. Where
-- the limit was another one until now, or the clock was set back, whatever may lie in this window is still counted; but
-- not of a budget: what is written down of this window is known better, within a minute (see agree.lua).
local function calendar(counters, name, from, to)
  local counter = counters[name]
  if counter and counter.s == from and counter.e == to then return counter, counter.u end
  local fresh = {s = from, e = to, u = 0}
  if counter then
    local before = counter.o
    fresh.x, fresh.c = counter.x, counter.c
    if counter.w then
      for _, used in ipairs(counter.b or {}) do fresh.u = fresh.u + used end
    elseif counter.e <= from then
      if counter.u > 0 or counter.m or counter.r or counter.d then
        fresh.o = {s = counter.s, e = counter.e, u = counter.u, m = counter.m, r = counter.r, d = counter.d}
      end
    elseif now < counter.s and counter.s - now < 60000 then -- set back a little: what is used counts for both
      return counter, counter.u + (before and before.e > now and before.u or 0)
    elseif name:sub(1, 7) ~= 'budget_' then
      fresh.u = counter.u + (before and before.e > from and before.u or 0)
      fresh.n, fresh.r, fresh.d = counter.n, counter.r, counter.d
    end
  end
  counters[name] = fresh
  return fresh, fresh.u
end

-- The counter without the buckets that are too old, and what is used in the others.
local function rolling(counters, name, width, buckets)
  local counter, sum, newest = counters[name], 0, math.floor(now / width)
  if not counter or counter.w ~= width then -- what was counted otherwise is kept in the newest bucket
    local fresh = {w = width, f = newest}
    if counter then
      for _, used in ipairs(counter.b or {}) do sum = sum + used end
      for _, window in ipairs({counter, counter.o}) do
        if window.e and window.e + width * buckets > now then sum = sum + window.u end
      end
      if sum > 0 then fresh.b = {sum} end
      fresh.x, fresh.c = counter.x, counter.c
    end
    counters[name] = fresh
    return fresh, sum
  end
  local kept = counter.b
  if not kept then return counter, 0 end
  local stale = newest - buckets + 1 - counter.f
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
  if counter.f + #kept > newest + 2 then counter.f, counter.b = newest, {sum} end -- the clock was set back by more
  return counter, sum
end

-- What is `passing` need not outlive its windows, nor a loss of Redis.
local function save(key, state, passing)
  state.v = state.v + 1
  local lives = math.max(state.t - now, state.q and 3600000 or 1) + (passing and 0 or KEPT)
  redis.call('SET', key, cjson.encode(state), 'PX', lives)
  if not passing then redis.call('SADD', 'smm:limits:changed', key:sub(SUBJECT)) end
end

-- Tell which crossing was reached, if none as high was told of this window; `levels` are the least uses of each.
local function tell(counter, used, levels, key, name, operation, capacity)
  local told, reached = counter.n or 0, 0
  while levels[reached + 1] and used >= levels[reached + 1] do reached = reached + 1 end
  if reached > told then
    local event = {
      subject = key:sub(SUBJECT), limit = name, operation = operation, level = reached,
      used = used, capacity = capacity, from = counter.s, to = counter.e, at = now,
    }
    if redis.call('RPUSH', 'smm:limits:crossings', cjson.encode(event)) > 100000 then
      redis.call('LPOP', 'smm:limits:crossings')
    end
    counter.n = reached
  elseif counter.w and levels[1] and used * 10 < levels[1] * 9 then
    counter.n = nil
  end
end
