-- Entries of the stream are written down: they leave it, and their money is no longer in the stream but in the roll-ups.
-- KEYS[1] the stream (see spend.lua)
-- ARGV, three of each entry: its id, bytes of its payload, what it counted, JSON
-- Returns how many of them were still there. Who comes second changes nothing.
local states, touched, left, bytes = {}, {}, 0, 0
for place = 1, #ARGV, 3 do
  if redis.call('XDEL', KEYS[1], ARGV[place]) == 1 then
    left, bytes = left + 1, bytes + tonumber(ARGV[place + 1])
    for _, one in ipairs(cjson.decode(ARGV[place + 2])) do
      local key = 'smm:limits:of:' .. one[1]
      if states[key] == nil then
        local raw = redis.call('GET', key)
        states[key] = raw and cjson.decode(raw) or false
        if raw then states[key].t = states[key].t or now end
      end
      local counter = states[key] and states[key].l[one[2]]
      if counter and counter.i then
        apart(counter, one[3], 'i', -one[4])
        touched[key] = true
      end
    end
  end
end
for key in pairs(touched) do save(key, states[key]) end
if bytes > 0 and redis.call('DECRBY', 'smm:costs:bytes', bytes) <= 0 then redis.call('DEL', 'smm:costs:bytes') end
return left
