-- Counters of budgets become what the roll-ups say, and what is in the stream, reserved, or settled without its call.
-- KEYS strings: states of the subjects (see common.lua)
-- ARGV[1] JSON, a list of [place of the subject, from 1, counter, committed, capacity, crossings, start, end]
-- Returns JSON: {v = "done" | "lost" | "unknown", t = the server's time, c = counters that differed, x = crossings that
--   were noted}
-- A window that is not the present one is left alone. What is still reserved when no lease can run any more, and every id
-- is forgotten by which it could be given back, is free again.
local got = redis.call('MGET', 'smm:limits:epoch', unpack(KEYS))
local epoch = got[1]
if not epoch then return '{"v":"lost","t":' .. now_text .. '}' end
local states, touched, differed, noted = {}, {}, 0, 0
for place = 1, #KEYS do
  local raw = got[place + 1]
  if not raw and epoch:sub(1, 1) == 'f' then return '{"v":"unknown","t":' .. now_text .. '}' end
  states[place] = raw and cjson.decode(raw) or {v = now, t = now, l = {}}
  states[place].t = states[place].t or now
end
for _, one in ipairs(cjson.decode(ARGV[1])) do
  local place, name, committed, capacity, levels, from, to = unpack(one)
  local state = states[place]
  if now >= from and now < to then
    local known = state.l[name]
    local same = known and known.s == from and known.e == to
    if same or committed > 0 then
      local counter, used = calendar(state.l, name, from, to)
      if counter.h and (counter.y or 0) + KEPT < now then counter.h, counter.y = nil, nil end
      local held = counter.h or 0
      local right = committed + (counter.i or 0) + held + (counter.q or 0)
      if counter.k ~= capacity then
        if counter.k then
          counter.n = 0
          while levels[counter.n + 1] and used - held >= levels[counter.n + 1] do counter.n = counter.n + 1 end
        end
        counter.k = capacity
        touched[place] = true
      end
      if counter.u ~= right or not same then
        counter.u = right
        differed = differed + 1
        touched[place] = true
        state.t = math.max(state.t, to)
        local before = counter.n or 0
        tell(counter, right - held, levels, KEYS[place], name, 'calls', capacity)
        if (counter.n or 0) > before then noted = noted + 1 end
      end
    end
  end
end
for place in pairs(touched) do save(KEYS[place], states[place]) end
return string.format('{"v":"done","t":%s,"c":%d,"x":%d}', now_text, differed, noted)
