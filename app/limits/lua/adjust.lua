-- What was counted in a window becomes more or less; put between common.lua and the scripts that need it.
local MOST = 99999999999999

-- Both give the use after it where the window goes on; nil where it is over, or is not kept any more. `buckets` is how
-- many a rolling window has; what is given back needs none.
local function adjust_rolling(counter, bucket, change, buckets)
  local kept, newest = counter.b or {}, math.floor(now / counter.w)
  local first = counter.b and counter.f or bucket
  if change > 0 then
    if bucket <= newest - buckets then return nil end
    bucket = math.min(bucket, math.max(newest, first + #kept - 1)) -- the clock may have been set back
    for _ = bucket, first - 1 do table.insert(kept, 1, 0) end
    first = math.min(first, bucket)
    for place = #kept + 1, bucket - first + 1 do kept[place] = 0 end
    counter.b, counter.f = kept, first
  end
  local place, sum = bucket - first + 1, 0
  if not kept[place] then return nil end
  kept[place] = math.min(math.max(kept[place] + change, 0), MOST)
  for at = math.max(1, newest - first - (buckets or #kept) + 2), #kept do sum = sum + kept[at] end
  return sum
end

local function adjust_calendar(counter, window, change)
  local which = counter.s == window and counter or counter.o
  if not which or which.s ~= window then return nil end
  if change < 0 then which.m = math.max(which.m or 0, which.u) end
  which.u = math.min(math.max(which.u + change, 0), MOST)
  return which == counter and counter.e > now and which.u or nil -- nobody may have turned it yet
end

-- Counters of money keep apart what no roll-up knows yet: "h" is reserved, "q" was settled by a report while its call was
-- not recorded, "i" was recorded and is in the stream. Only those of the present calendar window.
local function apart(counter, window, field, change)
  if counter.s ~= window or change == 0 then return end
  local left = (counter[field] or 0) + change
  counter[field] = left > 0 and left or nil
end
