-- Say in a subject's state what work of its queue waits for: newcomers who need the same wait behind it.
-- KEYS[1] string: the subject's state (see common.lua); with lanes it lives an hour at least, and is marked each minute
-- ARGV[1] JSON: {LANE: rank of the most urgent class that waits for it}; a lane is a limit or an operation
-- ARGV[2] "whole": these are all lanes; "more": they are added, of two ranks of a lane the more urgent stays
-- Returns JSON: {v = "done" | "unknown"}. Lanes are written again before a new epoch begins, so that none is asked for;
-- but a state that is not there is made only where it is known that nothing is counted.
local got = redis.call('MGET', 'smm:limits:epoch', KEYS[1])
local given, whole = cjson.decode(ARGV[1]), ARGV[2] == 'whole'
local state = got[2] and cjson.decode(got[2])
if not state then
  if whole and not next(given) then return '{"v":"done"}' end
  if not got[1] or got[1]:sub(1, 1) == 'f' then return '{"v":"unknown"}' end
  state = {v = now, l = {}}
end
state.t = state.t or now

local lanes = whole and {} or state.q or {}
for lane, rank in pairs(given) do
  if not lanes[lane] or rank < lanes[lane] then lanes[lane] = rank end
end
state.q = next(lanes) and lanes or nil
if whole and not state.q then state.h = nil end
save(KEYS[1], state)
return '{"v":"done"}'
