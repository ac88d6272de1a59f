local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me, limit, lives = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local used, kept, spent = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local need, want, adopt, days = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local family = string.match(me, '^[^/]*/')
local others, gone = 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local owner = all[i]
  if owner ~= me then
    local ends, ceiling, keeps, spends = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    local is_over = tonumber(ends) <= now
    local is_before = adopt ~= '' and string.sub(owner, 1, #family) == family and (is_over or adopt == 'live')
    if is_before or (is_over and tonumber(keeps) == 0) then redis.call('HDEL', KEYS[1], owner)
    else
      others = others + (is_over and tonumber(keeps) or tonumber(ceiling))
      gone = gone + tonumber(spends)
    end
  end
end
local room = limit - others
local ceiling = math.max(used, math.max(0, room))
if redis.call('EXISTS', KEYS[2]) == 1 then ceiling = used
elseif room >= want + 2 * (want - need) then ceiling = want
elseif room >= need then ceiling = need end
ceiling = math.max(ceiling, used)
kept = math.min(kept, ceiling)
if ceiling == 0 and kept == 0 then redis.call('HDEL', KEYS[1], me)
else redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f %.0f %.0f', now + lives, ceiling, kept, spent)) end
redis.call('PEXPIRE', KEYS[1], days * 86400000)
return {ceiling, others, gone}
