-- Decide about one operation against all its limits at once: everything is consumed, or nothing.
-- KEYS[1] string: what was decided under this id, JSON; lives plan.k milliseconds, or twice the lease
-- KEYS[2..] strings: states of the subjects (see common.lua)
-- ARGV[1] the plan, JSON: {c = rank of the class, o = operation, k = milliseconds an id is remembered, f = fields of the
--   hash of holds that concern the operation, n = true where it needs the account's token, z = true where nothing is kept
--   beyond the windows: no record of the id, no snapshot, and zero after a loss of Redis, l = limits}. A limit is [name,
--   place of its subject, ceiling for this class, capacity, cost (-1: the estimate), crossings, start, end, end of the
--   next window], or for a rolling one [..., crossings, width, buckets]; times in milliseconds, amounts in whole units of
--   the limit's currency
-- ARGV[2] one more field of the hash of holds, such as the tenant's
-- ARGV[3] "now", "defer", "release" or "peek": a refusal is counted as refused, as deferred, or not; a peek changes nothing
-- ARGV[4] the estimate, or absent   ARGV[5] milliseconds of lease, 0 or absent where nothing is to be settled
-- ARGV[6] name of the pass of a release, or absent: within one, nothing overtakes what had to stay
-- Returns JSON: {v = "allow" | "wait" | "again" | "lost" | "unknown" | "clock", t = the server's time,
--   l = used of each limit when allowed, else for each limit [used, when there may be room or 0, capacity],
--   h = lines of the holds that stop it, g = lines of hints, b = the lane it waits behind, a = what was decided before}
local plan, mode, pass = cjson.decode(ARGV[1]), ARGV[3], ARGV[6]
local operation, limits, rank = plan.o, plan.l, plan.c
local count = #KEYS
local got = redis.call('MGET', 'smm:limits:epoch', unpack(KEYS))
local epoch, record = got[1], got[2]
local releasing, peeking = mode == 'release', mode == 'peek'
if not (epoch or plan.z) then return '{"v":"lost"}' end
if record and not peeking and not (releasing and record:sub(1, 4) == '{"w"') then
  return '{"v":"again","t":' .. now_text .. ',"a":' .. record .. '}'
end

local fields, states, last = plan.f, {}, {}
for place = 2, count do
  local state = got[place + 1]
  if state then
    state = cjson.decode(state)
  elseif not plan.z and epoch:sub(1, 1) == 'f' then
    return '{"v":"unknown"}'
  else
    state = {v = 0, l = {}}
  end
  states[place], last[place] = state, now
  fields[#fields + 1] = KEYS[place]:sub(SUBJECT)
end
fields[#fields + 1] = ARGV[2]
local held, hints
for _, lines in ipairs(redis.call('HMGET', 'smm:limits:holds', unpack(fields))) do
  if lines then
    for line in lines:gmatch('[^\n]+') do
      local least, till, effect = line:match('^(%d) (%d+) (%a+)')
      local holds = least and rank >= tonumber(least) and (till == '0' or tonumber(till) > now)
      if holds and (effect ~= 'token' or plan.n) then
        if effect == 'hint' then
          hints = hints or {}
          hints[#hints + 1] = line
        else
          held = held or {}
          held[#held + 1] = line
        end
      end
    end
  end
end

local first = states[2]
local waiting, behind = not releasing and first.q
if waiting and waiting[operation] and waiting[operation] <= rank then behind = operation end
local counters, used_now, costs, rooms, over = {}, {}, {}, {}, false
for place = 1, #limits do
  local limit = limits[place]
  local name, owner, ceiling, capacity, cost = limit[1], limit[2] + 1, limit[3], limit[4], limit[5]
  local to, next_to = limit[8], limit[9]
  local counter, used
  if next_to then
    if now < limit[7] or now >= next_to then return '{"v":"clock","t":' .. now_text .. '}' end
    if now < to then
      counter = calendar(states[owner].l, name, limit[7], to)
    else
      counter = calendar(states[owner].l, name, to, next_to)
    end
    used = counter.u
    if counter.e > last[owner] then last[owner] = counter.e end
  else
    counter, used = rolling(states[owner].l, name, limit[7], to)
    local till = now + limit[7] * to
    if till > last[owner] then last[owner] = till end
  end
  if cost < 0 then cost = tonumber(ARGV[4]) end
  local room = 0
  if counter.c and counter.c < capacity then
    ceiling, capacity = math.floor(ceiling * counter.c / capacity), counter.c
  end
  if cost > 0 and used + cost > ceiling then
    room = counter.e or now + limit[7] * to
    if not next_to then
      local need = used + cost - ceiling
      for bucket, amount in ipairs(counter.b or {}) do
        need = need - amount
        if need <= 0 then
          room = (counter.f + bucket - 1 + to) * counter.w
          break
        end
      end
    end
  end
  local blocked = counter.x
  if blocked then
    if blocked > now then
      if blocked > room then room = blocked end
      if blocked > last[owner] then last[owner] = blocked end
    else
      counter.x = nil
    end
  end
  if room > 0 then over = true end
  if waiting and waiting[name] and waiting[name] <= rank then behind = name end
  counters[place], used_now[place], costs[place], rooms[place] = counter, used, cost, room
end

local function stays()
  local here = first.h
  if not here or here[1] ~= pass then
    here = {pass}
    first.h = here
  end
  local stayed = {}
  for place = 2, #here do stayed[here[place]] = true end
  if stayed[operation] then behind = operation end
  for place = 1, #limits do
    if stayed[limits[place][1]] then behind = limits[place][1] end
  end
  if not (held or behind or over) then return false end
  if not stayed[operation] then here[#here + 1] = operation end
  for place = 1, #limits do
    local name = limits[place][1]
    if (rooms[place] > 0 or behind) and not held and not stayed[name] then here[#here + 1] = name end
  end
  save(KEYS[2], first, last[2], plan.z)
  return true
end

if (pass and stays()) or held or behind or over then
  if over and not releasing and not peeking then
    local field = mode == 'defer' and 'd' or 'r'
    for place = 1, #limits do
      if rooms[place] > 0 then counters[place][field] = (counters[place][field] or 0) + 1 end
    end
    for place = 2, count do save(KEYS[place], states[place], last[place], plan.z) end
  end
  local shown = {}
  for place = 1, #limits do
    local capacity, told = limits[place][4], counters[place].c
    shown[place] = {used_now[place], rooms[place], told and told < capacity and told or capacity}
  end
  return cjson.encode({v = 'wait', t = now, l = shown, h = held, g = hints, b = behind})
end

local taken = {}
for place = 1, #limits do
  local limit, counter, used, cost = limits[place], counters[place], used_now[place], costs[place]
  if cost > 0 and not peeking then
    used = used + cost
    used_now[place] = used
    local window = counter.s
    if window then
      counter.u = used
    else
      window = math.floor(now / counter.w)
      local kept = counter.b
      if kept then
        local newest = math.max(#kept, window - counter.f + 1)
        for gap = #kept + 1, newest do kept[gap] = 0 end
        kept[newest] = kept[newest] + cost
      else
        counter.f, counter.b = window, {cost}
      end
    end
    local n = #taken
    taken[n + 1], taken[n + 2], taken[n + 3], taken[n + 4] = '"' .. limit[1] .. '"', limit[2], window, cost
    local levels, told = limit[6], counter.n or 0
    if (levels[told + 1] and used >= levels[told + 1]) or (told > 0 and used < levels[1]) then
      local reached = 0
      while levels[reached + 1] and used >= levels[reached + 1] do reached = reached + 1 end
      if reached > told then
        local event = {
          subject = KEYS[limit[2] + 1]:sub(SUBJECT), limit = limit[1], operation = operation, level = reached,
          used = used, capacity = limit[4], from = counter.s, to = counter.e, at = now,
        }
        if redis.call('RPUSH', 'smm:limits:crossings', cjson.encode(event)) > 100000 then
          redis.call('LPOP', 'smm:limits:crossings')
        end
      end
      counter.n = reached > 0 and reached or nil
    end
  end
end
if not peeking then
  for place = 2, count do save(KEYS[place], states[place], last[place], plan.z) end
end
if not (peeking or plan.z) then
  local lease, kept, lived = tonumber(ARGV[5] or 0), '', plan.k
  if lease > 0 then
    local names = {}
    for place = 2, count do names[place - 1] = KEYS[place]:sub(SUBJECT) end
    kept = string.format(',"e":%.0f,"s":', now + lease) .. cjson.encode(names)
    lived = math.max(plan.k, 2 * lease)
    redis.call('ZADD', 'smm:limits:leases', now + lease, KEYS[1])
  end
  kept = '{"o":"' .. operation .. '","at":' .. now_text .. kept .. ',"t":[' .. table.concat(taken, ',') .. ']}'
  redis.call('SET', KEYS[1], kept, 'PX', lived)
end
local told = hints and ',"g":' .. cjson.encode(hints) or ''
return '{"v":"allow","t":' .. now_text .. ',"l":[' .. table.concat(used_now, ',') .. ']' .. told .. '}'
