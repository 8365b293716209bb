"""Lua scripts that Redis runs atomically. Each uses keys of one shard only, so that it runs on one node of a cluster.

Lua's numbers are doubles, which hold microseconds since 1970 exactly until the year 2255.
"""

APPEND = """
-- Writes a user's new state and events, if nobody has changed the state since it was read.
-- KEYS: state, stream, clock, and the mark of each event.
-- ARGV: state before ('' if none), state after, seconds for marks, and for each event: received, JSON, digest.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if tonumber(ARGV[4]) <= tonumber(redis.call('GET', KEYS[3]) or '0') then return 0 end
for n = 4, #KEYS do
  if redis.call('EXISTS', KEYS[n]) == 1 then return 0 end
end
for n = 4, #KEYS do
  local at = 4 + 3 * (n - 4)
  redis.call('XADD', KEYS[2], ARGV[at] .. '-0', 'e', ARGV[at + 1])
  redis.call('SET', KEYS[n], ARGV[at + 2], 'EX', ARGV[3])
  redis.call('SET', KEYS[3], ARGV[at])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

FORGET = """
-- Replaces a user's state. KEYS: state, clock, forgotten users.
-- ARGV: user, now, and what comes before and after the time in the state.
local at = ARGV[2]
local clock = redis.call('GET', KEYS[2]) or '0'
if tonumber(clock) >= tonumber(at) then at = string.format('%.0f', tonumber(clock) + 1) end
redis.call('SET', KEYS[2], at)
redis.call('SET', KEYS[1], ARGV[3] .. at .. ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], at)
return at
"""

KEEP_OUT = """
-- Replaces the state of a user who was forgotten at another store, unless it knows of that, or of a later time.
-- KEYS: state, forgotten users. ARGV: user, when, and what comes before and after the time in the state.
local before = redis.call('GET', KEYS[1])
if before and (tonumber(cjson.decode(before)['forgotten']) or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3] .. ARGV[2] .. ARGV[4])
if before then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return 1
"""

CLOSE = """
-- From now on, events are accepted later than `now`, or than the clock if that is ahead. Returns when the oldest event
-- that is not compacted was accepted, the clock, and when users were forgotten who are to be removed.
-- KEYS: stream, clock, forgotten users. ARGV: now.
if tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[1]) then redis.call('SET', KEYS[2], ARGV[1]) end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {first[1] and first[1][1] or '', redis.call('GET', KEYS[2]), redis.call('HVALS', KEYS[3])}
"""

DONE = """
-- Drops a part. KEYS: part, stream, forgotten users. ARGV: its JSON, its last event, and its users with their times.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
for n = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[n]) == ARGV[n + 1] then redis.call('HDEL', KEYS[3], ARGV[n]) end
end
redis.call('DEL', KEYS[1])
return 1
"""
