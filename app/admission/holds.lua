-- Bring the hash of holds in step with what Postgres said at one moment. Writers may overtake one another: of each field
-- the newest moment stays. Moments are texts of digits that sort as the moments did.
-- KEYS[1] hash: scope → lines of holds, as decide.lua reads them; a scope that nothing holds is not there
-- KEYS[2] hash: scope → the moment that its field is of, also for a while after it left; "floor": every field that is not
--   here is as it was at this moment; "newest": the last moment that any writer had. Both keys live for ever
-- ARGV[1] the moment
-- ARGV[2] "some": write these fields   "part": a part of the whole   "end": the whole was written, forget all that is older
--   "anew": Postgres was set back, so that moments no longer compare: forget them, the whole follows
-- ARGV[3..] scope, lines ('' where nothing holds it), scope, lines, ...
-- Returns the scopes that were held, and are held otherwise or not at all now; false where Redis has lost the whole.
local moment, what = ARGV[1], ARGV[2]
local holds, moments = KEYS[1], KEYS[2]
if what == 'anew' then
  redis.call('DEL', moments)
  return {}
end
local floor = redis.call('HGET', moments, 'floor')
if what == 'some' and not floor then return false end

local freed = {}
local function write(scope, lines)
  local before = redis.call('HGET', holds, scope)
  if before and before ~= lines then freed[#freed + 1] = scope end
  if lines == '' then
    redis.call('HDEL', holds, scope)
  elseif before ~= lines then
    redis.call('HSET', holds, scope, lines)
  end
end

for place = 3, #ARGV, 2 do
  local scope = ARGV[place]
  if moment >= (redis.call('HGET', moments, scope) or floor or '') then
    write(scope, ARGV[place + 1])
    redis.call('HSET', moments, scope, moment)
  end
end

if what == 'end' and moment >= (floor or '') then
  local known = {}
  local flat = redis.call('HGETALL', moments)
  for place = 1, #flat, 2 do known[flat[place]] = flat[place + 1] end
  for _, scope in ipairs(redis.call('HKEYS', holds)) do
    if (known[scope] or '') < moment then write(scope, '') end
  end
  for scope, of in pairs(known) do
    local over = of < moment or (of == moment and redis.call('HEXISTS', holds, scope) == 0)
    if over and scope ~= 'newest' then redis.call('HDEL', moments, scope) end
  end
  redis.call('HSET', moments, 'floor', moment)
end
if moment > (redis.call('HGET', moments, 'newest') or '') then redis.call('HSET', moments, 'newest', moment) end
return freed
