-- Keep the modes' document where others read it in one call, unless what is there is newer.
-- KEYS[1] string: the document, JSON with "version"; lives ARGV[3] milliseconds from its last writing
-- ARGV[1] the document   ARGV[2] its version   ARGV[3] milliseconds it is kept
-- Returns 1 when it was written, 0 when a newer one is there. What is no such document is replaced.
local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'string' then
  local readable, found = pcall(cjson.decode, kept)
  local version = readable and type(found) == 'table' and tonumber(found.version)
  if version and version > tonumber(ARGV[2]) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
