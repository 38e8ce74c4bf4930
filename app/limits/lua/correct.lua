-- Correct counters of one subject upward, to what the platform says of them, and block them until it lets us go on.
-- KEYS[1] string: the subject's state (see common.lua)
-- ARGV[1] the plan (see decide.lua): the limits, each with the place 1
-- ARGV[2] JSON, for each of them [least use, capacity as the platform says it, or 0 where it does not, blocked until,
--   or 0]; milliseconds, whole units
-- Returns JSON: {v = "done" | "lost" | "unknown" | "clock", t = the server's time, l = names of limits that were
--   raised}
local plan, said = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local got = redis.call('MGET', 'smm:limits:epoch', KEYS[1])
local epoch = got[1]
if not epoch then return '{"v":"lost"}' end
if not got[2] and epoch:sub(1, 1) == 'f' then return '{"v":"unknown"}' end
local state = got[2] and cjson.decode(got[2]) or {v = now, t = now, l = {}}
state.t = state.t or now

local raised = {}
for place, limit in ipairs(plan.l) do
  local name, capacity, from, to, next_to = limit[1], limit[4], limit[7], limit[8], limit[9]
  local least, told, blocked = said[place][1], said[place][2], said[place][3]
  local counter, used, till
  if not next_to then
    counter, used = rolling(state.l, name, from, to)
    till = now + from * to
  elseif now >= from and now < to then
    counter, used = calendar(state.l, name, from, to)
    till = counter.e
  elseif now >= to and now < next_to then
    counter, used = calendar(state.l, name, to, next_to)
    till = counter.e
  else
    return '{"v":"clock","t":' .. now_text .. '}'
  end
  if least > used then
    if counter.s then
      counter.u = counter.u + least - used
    else
      local kept, window = counter.b, math.floor(now / counter.w)
      if not kept then
        kept, counter.f = {}, window
        counter.b = kept
      end
      local newest = math.max(#kept, window - counter.f + 1)
      for gap = #kept + 1, newest do kept[gap] = 0 end
      kept[newest] = kept[newest] + least - used
    end
    raised[#raised + 1] = name
    tell(counter, least, limit[6], KEYS[1], name, nil, capacity)
  end
  if told > 0 then counter.c = told < capacity and told or nil end
  if blocked > now and blocked > (counter.x or 0) then counter.x = blocked end
  state.t = math.max(state.t, till, counter.x or 0)
end
save(KEYS[1], state)
return cjson.encode({v = 'done', t = now, l = raised})
