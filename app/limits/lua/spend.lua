-- Calls that were made and what they cost: what was reserved under a call's id becomes what it cost, every other call is
-- counted in the budgets that apply, beyond any ceiling, and all of them go into the stream together. An id counts once.
-- KEYS[1] the stream: entries {k = kind, p = payload, c = what was counted, JSON: [subject, counter, window, amount] each}
-- KEYS[2..] strings: states of the subjects that counters speak of (see common.lua)
-- ARGV[1] JSON: {e = ids (UUIDv7 text), a = millionths of a dollar, g = group of each, from 1, h = its group whatever its
--   time is, w = whose queue each would wait in, from 1, o = those: accounts without a platform, f = the groups: lists of
--   counters, from 1, l = the counters: [name, place of its subject, from 1, capacity, crossings, start, end, true], or
--   for a rolling one [name, place, capacity, crossings, width, buckets], k = milliseconds an id that was reserved for is
--   remembered, m = ids that are known of one minute or so at most, x = true: append also where every id is known, b = bytes
--   that the stream may hold, n = kind}
-- ARGV[2] the payload
-- Returns JSON: {v = "done" | "full" | "lost" | "unknown" | "clock", t = the server's time, e = the entry or null,
--   f = calls that were new, d = calls that were known, x = crossings that were noted}
-- Ids are known for ten minutes, in sets by their first eight digits, 65 seconds' worth: smm:costs:seen:DIGITS. What is
-- counted twice after that is put right when counters are compared with the roll-ups.
local SEEN_FOR, RESERVED = 600000, 'smm:limits:id:-/'
local given, payload = cjson.decode(ARGV[1]), ARGV[2]
local ids, amounts, groups, lists_of, lists = given.e, given.a, given.g, given.f, given.l

local function said(word) return '{"v":"' .. word .. '","t":' .. now_text .. '}' end

local got = redis.call('MGET', 'smm:limits:epoch', 'smm:costs:bytes', unpack(KEYS, 2))
local epoch = got[1]
if not epoch then return said('lost') end
if tonumber(got[2] or 0) + #payload > given.b then return said('full') end

local states, touched, noted, counted = {}, {}, 0, {}
for place = 2, #KEYS do
  local raw = got[place + 1]
  if not raw and epoch:sub(1, 1) == 'f' then return said('unknown') end
  local state = raw and cjson.decode(raw) or {v = now, t = now, l = {}}
  state.t = state.t or now
  states[KEYS[place]] = state
end
local listed = {}
for _, one in ipairs(lists) do
  if one[7] and (now < one[5] or now >= one[6]) then return said('clock') end
  listed[KEYS[one[2] + 1] .. one[1]] = one
end

local function state_of(subject)
  local key = 'smm:limits:of:' .. subject
  if states[key] == nil then
    local raw = redis.call('GET', key)
    states[key] = raw and cjson.decode(raw) or false
    if raw then states[key].t = states[key].t or now end
  end
  return states[key], key
end

local function note(subject, name, window, amount)
  if amount == 0 then return end
  local key = subject .. '\31' .. name .. '\31' .. string.format('%.0f', window)
  local one = counted[key]
  if one then one[4] = one[4] + amount else counted[key] = {subject, name, window, amount} end
end

-- What is only reserved reaches no threshold. A budget that was raised or lowered is told anew from what was used by then.
local function told(counter, before, used, capacity, levels, key, name)
  used = used - (counter.h or 0)
  if counter.k ~= capacity then
    if counter.k then
      before = before - (counter.h or 0)
      counter.n = 0
      while levels[counter.n + 1] and before >= levels[counter.n + 1] do counter.n = counter.n + 1 end
    end
    counter.k = capacity
  end
  local before_told = counter.n or 0
  tell(counter, used, levels, key, name, 'calls', capacity)
  if (counter.n or 0) > before_told then noted = noted + 1 end
end

-- Budgets in which the call does not count, as it was made for others than was asked for, get back what was reserved.
local function settle(record, cost, group)
  local done, applies = {}, {}
  for _, list in ipairs(group) do
    local one = lists[list]
    applies[KEYS[one[2] + 1] .. one[1]] = true
  end
  for _, one in ipairs(record.m or {}) do
    local amount = cost
    local name, subject, window, was = one[1], (record.s or {})[one[2]], one[3], one[4]
    if subject then
      local state, key = state_of(subject)
      local counter = state and state.l[name]
      if name:sub(1, 7) == 'budget_' and not applies[key .. name] then amount = 0 end
      done[key .. name] = true
      if counter then
        local before = counter.u
        local used = (counter.w and adjust_rolling or adjust_calendar)(counter, window, amount - was, one[7])
        if counter.s then
          apart(counter, window, record.z == 'settled' and 'q' or 'h', record.z ~= 'refunded' and -was or 0)
          apart(counter, window, 'i', amount)
          if counter.s == window then note(subject, name, window, amount) end
        end
        local list = listed[key .. name] -- crossings are those of today's budget, not of when it was reserved
        if used and list then
          told(counter, before or used, used, list[3], list[4], key, name)
        elseif used then
          tell(counter, used, one[6], key, name, record.o, one[5])
        end
        touched[key] = true
      end
    end
    one[4] = amount
  end
  return done
end

-- While nothing is reserved, no id has to be looked up.
local reserved, is_reserving = {}, redis.call('EXISTS', 'smm:limits:reserving') == 1
local function record_of(place) return RESERVED .. given.o[given.w[place]] .. '\31' .. ids[place] end
for first = 1, is_reserving and #ids or 0, 1000 do
  local names = {}
  for place = first, math.min(first + 999, #ids) do names[#names + 1] = record_of(place) end
  for place, raw in ipairs(redis.call('MGET', unpack(names))) do
    if raw then reserved[first + place - 1] = raw end
  end
end

-- Which of the ids were known, and all of them are from now on; of one that comes twice here, the second one is known.
local sets, is_known, is_mine = {}, {}, {}
for _, id in ipairs(ids) do
  local name = id:sub(1, 8)
  local set = sets[name] or {}
  sets[name], set[#set + 1] = set, id
end
for name, all in pairs(sets) do
  local key, new = 'smm:costs:seen:' .. name, {}
  for first = 1, #all, 1000 do
    local part = {unpack(all, first, math.min(first + 999, #all))}
    for place, found in ipairs(redis.call('SMISMEMBER', key, unpack(part))) do
      if found == 1 then is_known[part[place]] = true else new[#new + 1] = part[place] end
    end
  end
  local before = #new > 0 and redis.call('SCARD', key) or given.m
  for first = 1, before < given.m and #new or 0, 1000 do
    redis.call('SADD', key, unpack(new, first, math.min(first + 999, #new)))
  end
  if before == 0 then redis.call('PEXPIRE', key, SEEN_FOR) end
end

local sums, fresh, records = {}, 0, {}
for place, id in ipairs(ids) do
  local amount, group, done = amounts[place], lists_of[groups[place]], nil
  local key = reserved[place] and record_of(place)
  local record = key and (records[key] or cjson.decode(reserved[place]))
  if record and record.w then record = nil end
  local is_fresh = not (is_known[id] or is_mine[id])
  is_mine[id] = true
  if record then
    is_fresh = record.z ~= 'recorded'
    if is_fresh then
      done = settle(record, amount, lists_of[given.h[place]])
      record.z, records[key] = 'recorded', record
      local lives = math.max(redis.call('PTTL', key), given.k)
      redis.call('SET', key, cjson.encode(record), 'PX', lives)
      redis.call('ZREM', 'smm:limits:leases', key)
    end
  end
  if is_fresh then
    fresh = fresh + 1
    for _, list in ipairs(group) do
      local one = lists[list]
      if amount > 0 and not (done and done[KEYS[one[2] + 1] .. one[1]]) then sums[list] = (sums[list] or 0) + amount end
    end
  end
end

for list, amount in pairs(sums) do
  local one = lists[list]
  local name, key = one[1], KEYS[one[2] + 1]
  local state, counter, used, till = states[key], nil, nil, nil
  if one[7] then
    counter, used = calendar(state.l, name, one[5], one[6])
    counter.u = math.min(counter.u + amount, MOST)
    apart(counter, counter.s, 'i', amount)
    note(key:sub(SUBJECT), name, counter.s, amount)
    till = counter.e
    told(counter, used, used + amount, one[3], one[4], key, name)
  else
    counter, used = rolling(state.l, name, one[5], one[6])
    till = now + one[5] * one[6]
    local after = adjust_rolling(counter, math.floor(now / one[5]), amount, one[6])
    told(counter, used, after or used + amount, one[3], one[4], key, name)
  end
  state.t = math.max(state.t, till)
  touched[key] = true
end
for key in pairs(touched) do save(key, states[key]) end

local entry = 'null'
if fresh > 0 or given.x then
  local all = {}
  for _, one in pairs(counted) do all[#all + 1] = one end
  local text = #all > 0 and cjson.encode(all) or '[]'
  entry = '"' .. redis.call('XADD', KEYS[1], '*', 'k', given.n, 'p', payload, 'c', text) .. '"'
  redis.call('INCRBY', 'smm:costs:bytes', #payload)
end
return string.format('{"v":"done","t":%s,"e":%s,"f":%d,"d":%d,"x":%d}', now_text, entry, fresh, #ids - fresh, noted)
