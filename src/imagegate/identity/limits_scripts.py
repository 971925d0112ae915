"""The scripts that Redis runs. They do the same sums as `limits_local`; whole numbers below 2^53 all the way."""

TAKE = """
-- KEYS[i]: the bucket of want i. ARGV: now in ms or '', lease, lease in ms, then kind, limit, burst, cost of each want.
-- Answers 1 or 0, then how each bucket stands: after the take, or as it was found.
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local lease, lease_ms = ARGV[2], tonumber(ARGV[3])
local TICKS, used, fit = 60000, {}, 1
local SLACK_MS = 60000 -- expiry only tidies up: what counts is in the sums
for i, key in ipairs(KEYS) do
    local kind, limit = ARGV[4 * i], tonumber(ARGV[4 * i + 1])
    local burst, cost = tonumber(ARGV[4 * i + 2]), tonumber(ARGV[4 * i + 3])
    if kind == 'slots' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        used[i] = redis.call('ZCARD', key)
        if used[i] + cost > burst then fit = 0 end
    else
        local meter = redis.call('HMGET', key, 'ticks', 'at')
        used[i] = 0
        if meter[1] then
            -- Above a limit that was lowered, the meter is as full as it can be.
            used[i] = math.max(0, math.min(meter[1], burst * TICKS) - math.max(0, now - meter[2]) * limit)
        end
        if used[i] + cost * TICKS > burst * TICKS then fit = 0 end
    end
end
if fit == 1 then
    for i, key in ipairs(KEYS) do
        local limit, cost = tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 3])
        if ARGV[4 * i] == 'slots' then
            used[i] = used[i] + 1
            redis.call('ZADD', key, now + lease_ms, lease)
            local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
            redis.call('PEXPIRE', key, string.format('%.0f', last[2] - now + SLACK_MS))
        else
            used[i] = used[i] + cost * TICKS
            redis.call('HSET', key, 'ticks', string.format('%.0f', used[i]), 'at', string.format('%.0f', now))
            redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(used[i] / limit) + SLACK_MS))
        end
    end
end
return {fit, unpack(used)}
"""

GIVE_BACK = """
-- KEYS[i]: a bucket. ARGV: lease, then kind and amount of each.
for i, key in ipairs(KEYS) do
    local kind, amount = ARGV[2 * i], tonumber(ARGV[2 * i + 1])
    if kind == 'slots' then
        redis.call('ZREM', key, ARGV[1])
    else
        local ticks = redis.call('HGET', key, 'ticks')
        if ticks then
            redis.call('HSET', key, 'ticks', string.format('%.0f', math.max(0, ticks - amount * 60000)))
        end
    end
end
return 1
"""
