-- What an id consumed becomes what was spent, or nothing. It happens once: what is settled stays as it is, and what was
-- given back may only be settled yet, because it was spent after all.
-- KEYS[1] string: what was decided under this id (see decide.lua); lives ARGV[3] milliseconds from now at least
-- KEYS[2..] strings: states of the subjects, in the order of the decision (see common.lua); where the record itself
--   names its subjects, those count
-- ARGV[1] "settle": money becomes ARGV[2], calls stay; "refund": all is given back; "lapse": the money is, where the
--   lease is over
-- ARGV[2] what was spent, in whole units of the currency   ARGV[3] milliseconds an id is remembered
-- ARGV[4] the plan (see decide.lua), or absent: by it money is counted, in the present window and beyond any ceiling,
--   where nothing is known of the id
-- Returns JSON: {v = "done" | "before" (it was settled or given back) | "none" (nothing is known of this id) | "early"
--   (the lease is not over) | "lost" | "unknown" | "clock", t = the server's time}
-- A calendar window is adjusted while it is the present one or the one before; a rolling one while its bucket is there.
local mode, spent, remembered = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local got = redis.call('MGET', 'smm:limits:epoch', KEYS[1])
local epoch, record = got[1], got[2] and cjson.decode(got[2])
local plan = ARGV[4] and cjson.decode(ARGV[4])

local function said(word) return '{"v":"' .. word .. '","t":' .. now_text .. '}' end

if not epoch then return said('lost') end
if record and record.w then record = nil end -- it waits: nothing is consumed
if not record and (mode ~= 'settle' or not plan) then
  if not got[2] then redis.call('ZREM', 'smm:limits:leases', KEYS[1]) end
  return said('none')
end
local is_spent = record and (record.z == 'settled' or record.z == 'recorded')
if is_spent or record and record.z and mode ~= 'settle' then return said('before') end
if record and mode == 'lapse' and record.e and record.e > now then return said('early') end

local names, states = KEYS, {}
if record and record.s then
  names = {KEYS[1]}
  for place, subject in ipairs(record.s) do names[place + 1] = 'smm:limits:of:' .. subject end
end
local raw = #names > 1 and redis.call('MGET', unpack(names, 2)) or {}
for place = 2, #names do
  local state
  if raw[place - 1] then
    state = cjson.decode(raw[place - 1])
    state.t = state.t or now
  elseif epoch:sub(1, 1) == 'f' then
    return said('unknown')
  elseif not record then
    state = {v = now, t = now, l = {}}
  end
  for other = 2, place - 1 do
    if names[other] == names[place] then state = states[other] end
  end
  states[place] = state
end

local touched = {}
local function change(name, place, window, amount, capacity, levels, buckets)
  local state = states[place + 1]
  local counter = state and state.l[name]
  if not counter or amount == 0 then return end
  local used = (counter.w and adjust_rolling or adjust_calendar)(counter, window, amount, buckets)
  if used and levels then tell(counter, used, levels, names[place + 1], name, record.o, capacity) end
  touched[place + 1] = true
end

if not record then
  record = {o = plan.o, at = now, t = {}, m = {}}
  for _, limit in ipairs(plan.l) do
    local name, state, from, to, next_to = limit[1], states[limit[2] + 1], limit[7], limit[8], limit[9]
    if limit[5] < 0 then
      if next_to and (now < from or now >= next_to) then return said('clock') end
      local counter, till
      if not next_to then
        counter, till = rolling(state.l, name, from, to), now + from * to
      elseif now < to then
        counter, till = calendar(state.l, name, from, to), to
      else
        counter, till = calendar(state.l, name, to, next_to), next_to
      end
      state.t = math.max(state.t, till)
      local window = counter.s or math.floor(now / counter.w)
      record.m[#record.m + 1] = {name, limit[2], window, 0, limit[4], limit[6], next_to and 0 or to}
    end
  end
end

local target = mode == 'settle' and spent or 0
for _, one in ipairs(record.m or {}) do
  local state = states[one[2] + 1]
  local counter = state and state.l[one[1]]
  if counter then
    if not record.z then apart(counter, one[3], 'h', -one[4]) end
    apart(counter, one[3], 'q', target)
  end
  change(one[1], one[2], one[3], target - one[4], one[5], one[6], one[7])
  one[4] = target
end
if mode == 'refund' then
  local taken = record.t
  for place = 1, #taken, 4 do change(taken[place], taken[place + 1], taken[place + 2], -taken[place + 3]) end
  record.t = {}
end
record.z = mode == 'settle' and 'settled' or 'refunded'
for place in pairs(touched) do save(names[place], states[place]) end
local lives = math.max(redis.call('PTTL', KEYS[1]), remembered)
redis.call('SET', KEYS[1], cjson.encode(record), 'PX', lives)
redis.call('ZREM', 'smm:limits:leases', KEYS[1])
return said('done')
