-- End the rebuild: from now on a subject without a state has used nothing.
-- ARGV[1] the epoch that was filled, `filling:ID`; in any other nothing is done
-- Returns 1 when the epoch is whole now, else 0
if redis.call('GET', 'smm:limits:epoch') ~= ARGV[1] then return 0 end
redis.call('SET', 'smm:limits:epoch', 'whole' .. ARGV[1]:sub(8))
return 1
