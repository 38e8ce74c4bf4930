-- Decide about one operation against all its limits at once: everything is consumed, or nothing.
-- KEYS[1] string: what was decided under this id, JSON, lives plan.k milliseconds, twice the lease, or a day where it
--   was released: {o = operation, at = when, t = what it took: [limit, place of its subject, window's start or bucket,
--   amount, and so on], m = the same by the estimate, of each [limit, place, window or bucket, amount, capacity,
--   crossings, buckets or 0], e = end of the lease, s = subjects, z = "settled", "refunded" or "recorded"}, or
--   {w = 1, o = operation} while the work waits
-- KEYS[2..] strings: states of the subjects (see common.lua)
-- ARGV[1] the plan, JSON: {c = rank of the class, o = operation, k = milliseconds an id is remembered, f = fields of
--   the hash of holds that concern the operation, n = true where it needs the account's token, z = true where nothing
--   is kept beyond the windows: no record of the id, no snapshot, and zero after a loss of Redis, b = true where it does
--   not wait behind others of its operation, l = limits}. A limit is [name, place of its subject, ceiling for this class, capacity, cost (-1: the estimate), crossings, start, end,
--   end of the next window], or for a rolling one [..., crossings, width, buckets]; times in milliseconds, amounts in
--   whole units of the limit's currency
-- ARGV[2] one more field of the hash of holds, such as the tenant's
-- ARGV[3] "now", "defer", "release" or "peek": a refusal is counted as refused, as deferred, or not; a peek changes
--   nothing, and takes the id as new
-- ARGV[4] the estimate, or absent   ARGV[5] milliseconds of lease, 0 or absent where nothing is to be settled
-- ARGV[6] name of the pass of a release, or absent: within one, nothing overtakes what had to stay
-- Returns JSON: {v = "allow" | "wait" | "again" | "lost" | "unknown" | "clock", t = the server's time,
--   l = used of each limit when allowed, or, where the platform says a lower capacity and where it is not, of each
--   [used, when there may be room or 0, capacity],
--   h = lines of the holds that stop it, g = lines of hints, b = the lane it waits behind, a = what was decided before}
local plan, mode, pass = cjson.decode(ARGV[1]), ARGV[3], ARGV[6]
local operation, limits, rank = plan.o, plan.l, plan.c
local count, count_of_limits = #KEYS, #limits
local got = redis.call('MGET', 'smm:limits:epoch', unpack(KEYS))
local epoch, record = got[1], got[2]
local releasing, peeking = mode == 'release', mode == 'peek'
if peeking then pass = nil end
if not (epoch or plan.z) then return '{"v":"lost"}' end
if record and not peeking and not (releasing and record:sub(1, 4) == '{"w"') then
  return '{"v":"again","t":' .. now_text .. ',"a":' .. record .. '}'
end

local fields, states = plan.f, {}
for place = 2, count do
  local state = got[place + 1]
  if state then
    state = cjson.decode(state)
    state.t = state.t or now
  elseif not plan.z and epoch:sub(1, 1) == 'f' then
    return '{"v":"unknown"}'
  else
    state = {v = now, t = now, l = {}}
  end
  for other = 2, place - 1 do
    if KEYS[other] == KEYS[place] then state = states[other] end
  end
  states[place] = state
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
if waiting and not plan.b and waiting[operation] and waiting[operation] <= rank then behind = operation end

-- What others wait behind: a limit, or a budget of one subject, for somebody else's may have room.
local function lane_of(limit)
  if limit[1]:sub(1, 7) ~= 'budget_' then return limit[1] end
  return limit[1] .. ' ' .. KEYS[limit[2] + 1]:sub(SUBJECT)
end

local counters, used_now, costs, rooms, over = {}, {}, {}, {}, false
for place = 1, count_of_limits do
  local limit = limits[place]
  local name, owner, ceiling, capacity, cost = limit[1], limit[2] + 1, limit[3], limit[4], limit[5]
  local from, to, next_to, state = limit[7], limit[8], limit[9], states[owner]
  local counter, used, till
  if next_to then
    if now < to then
      if now < from then return '{"v":"clock","t":' .. now_text .. '}' end
      counter, used = calendar(state.l, name, from, to)
    else
      if now >= next_to then return '{"v":"clock","t":' .. now_text .. '}' end
      counter, used = calendar(state.l, name, to, next_to)
    end
    till = counter.e
  else
    counter, used = rolling(state.l, name, from, to)
    till = now + from * to
  end
  if till > state.t then state.t = till end
  if cost < 0 then cost = math.max(tonumber(ARGV[4] or 0), 0) end
  local room, told = 0, counter.c
  if told and told < capacity then
    ceiling = ceiling == capacity and told or math.ceil(ceiling * told / capacity)
  end
  if cost > 0 and used + cost > ceiling then
    room = till
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
      if blocked > state.t then state.t = blocked end
    else
      counter.x = nil
    end
  end
  if room > 0 then over = true end
  if waiting then
    local lane = lane_of(limit)
    if waiting[lane] and waiting[lane] <= rank then behind = lane end
  end
  counters[place], used_now[place], costs[place], rooms[place] = counter, used, cost, room
end

local here, stayed = first.h, {}
if pass then
  if not here or here[1] ~= pass then
    here = {pass}
    first.h = here
  end
  for place = 2, #here do stayed[here[place]] = true end
  if stayed[operation] and not plan.b then behind = operation end
  for place = 1, count_of_limits do
    local lane = lane_of(limits[place])
    if stayed[lane] then behind = lane end
  end
end

if held or behind or over then
  local counted = over and not releasing and not peeking
  if counted then
    local field = mode == 'defer' and 'd' or 'r'
    for place = 1, count_of_limits do
      if rooms[place] > 0 then counters[place][field] = (counters[place][field] or 0) + 1 end
    end
  end
  if pass then -- only what is full is waited for: who needs the rest of what this one needs may pass
    if not stayed[operation] and not plan.b then here[#here + 1] = operation end
    for place = 1, count_of_limits do
      local lane = lane_of(limits[place])
      if rooms[place] > 0 and not held and not stayed[lane] then here[#here + 1] = lane end
    end
  end
  if counted or pass then
    for place = 2, count do save(KEYS[place], states[place], plan.z) end
  end
  local shown = {}
  for place = 1, count_of_limits do
    local capacity, told = limits[place][4], counters[place].c
    shown[place] = {used_now[place], rooms[place], told and told < capacity and told or capacity}
  end
  return cjson.encode({v = 'wait', t = now, l = shown, h = held, g = hints, b = behind})
end

local taken, spent, lease = {}, nil, tonumber(ARGV[5] or 0)
if not peeking then
  for place = 1, count_of_limits do
    local limit, counter, cost = limits[place], counters[place], costs[place]
    local window = counter.s or math.floor(now / counter.w)
    if cost > 0 then
      local used, levels = used_now[place] + cost, limit[6]
      used_now[place] = used
      if counter.s then
        counter.u = counter.u + cost
        if limit[5] < 0 then
          counter.h, counter.y = (counter.h or 0) + cost, math.max(counter.y or 0, now + lease)
        end
      else
        local kept = counter.b
        if kept then
          local newest = math.max(#kept, window - counter.f + 1)
          for gap = #kept + 1, newest do kept[gap] = 0 end
          kept[newest] = kept[newest] + cost
          window = counter.f + newest - 1
        else
          counter.f, counter.b = window, {cost}
        end
      end
      if limit[5] > 0 then
        local n = #taken
        taken[n + 1], taken[n + 2], taken[n + 3], taken[n + 4] = '"' .. limit[1] .. '"', limit[2], window, cost
      end
      local told = counter.n or 0
      local level = levels[told + 1]
      if level and used >= level or told > 0 and levels[1] and not limit[9] and used * 10 < levels[1] * 9 then
        tell(counter, used, levels, KEYS[limit[2] + 1], limit[1], operation, limit[4])
      end
    end
    if limit[5] < 0 then
      spent = spent or {}
      local buckets = limit[9] and 0 or limit[8]
      spent[#spent + 1] = {limit[1], limit[2], window, cost, limit[4], limit[6], buckets}
    end
  end
  if pass or count_of_limits > 0 then
    for place = 2, count do save(KEYS[place], states[place], plan.z) end
  end
  if not plan.z then
    local more, lived = '', plan.k
    if releasing then lived = math.max(lived, 86400000) end -- who asked may ask again long after its turn came
    if lease > 0 then
      local names = {}
      for place = 2, count do names[place - 1] = KEYS[place]:sub(SUBJECT) end
      more = string.format(',"e":%.0f,"s":', now + lease) .. cjson.encode(names)
      lived = math.max(lived, 2 * lease)
      redis.call('ZADD', 'smm:limits:leases', now + lease, KEYS[1])
    end
    if spent then
      more = more .. ',"m":' .. cjson.encode(spent)
      redis.call('SET', 'smm:limits:reserving', '1', 'PX', lived + 86400000) -- ids may be kept longer than at first
    end
    local kept = '{"o":"' .. operation .. '","at":' .. now_text .. more .. ',"t":[' .. table.concat(taken, ',') .. ']}'
    redis.call('SET', KEYS[1], kept, 'PX', lived)
  end
end
for place = 1, count_of_limits do
  local told = counters[place].c
  if told and told < limits[place][4] then used_now[place] = '[' .. used_now[place] .. ',0,' .. told .. ']' end
end
local told = hints and ',"g":' .. cjson.encode(hints) or ''
return '{"v":"allow","t":' .. now_text .. ',"l":[' .. table.concat(used_now, ',') .. ']' .. told .. '}'
