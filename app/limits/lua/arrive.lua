-- Count what an id consumed of rolling windows from now on: the call was made, and the platform counts it since a moment
-- ago, which may be long after it was allowed. Happens once for an id.
-- KEYS[1] string: what was decided under this id (see decide.lua); keeps its life
-- KEYS[2..] strings: states of the subjects, in the order of the decision (see common.lua)
-- Returns JSON: {v = "done" | "none" (nothing is consumed under this id) | "lost" | "unknown", t = the server's time}
local got = redis.call('MGET', 'smm:limits:epoch', unpack(KEYS))
local epoch, record = got[1], got[2] and cjson.decode(got[2])

local function said(word) return '{"v":"' .. word .. '","t":' .. now_text .. '}' end

if not epoch then return said('lost') end
if not record or record.w or record.z == 'refunded' or record.h or not record.t then return said('none') end
record.h = 1
local taken, states, touched = record.t, {}, {}
for place = 2, #KEYS do
  if got[place + 1] then
    states[place] = cjson.decode(got[place + 1])
    states[place].t = states[place].t or now
  elseif epoch:sub(1, 1) == 'f' then
    return said('unknown')
  end
end
for place = 1, #taken, 4 do
  local owner, window, cost = taken[place + 1] + 1, taken[place + 2], taken[place + 3]
  local state = states[owner]
  local counter = state and state.l[taken[place]]
  if counter and counter.w then
    local newest = math.floor(now / counter.w)
    if newest > window then
      local kept, first = counter.b or {}, counter.b and counter.f or newest
      local old = window - first + 1
      if kept[old] then kept[old] = math.max(kept[old] - cost, 0) end
      local at = math.max(#kept, newest - first + 1)
      for gap = #kept + 1, at do kept[gap] = 0 end
      kept[at] = kept[at] + cost
      counter.f, counter.b, taken[place + 2] = first, kept, first + at - 1
      touched[owner] = true
    end
  end
end
for place in pairs(touched) do save(KEYS[place], states[place]) end
redis.call('SET', KEYS[1], cjson.encode(record), 'KEEPTTL')
return said('done')
