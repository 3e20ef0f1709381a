-- Merges one event of a run that something else executes with what was told of the run before.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, state ('open' | 'complete' | 'dropped'), atMs, outputs [[field, version or '']], openForMs,
--             endedForMs, maxRuns, maxOutputs, maxBytes; where it is known: window (JSON text)
-- returns     {'merged', state, atMs of the completion or 0, window or '', runs forgotten, field, version, ...}; the
--             outputs only of a run that is complete; or {'full'}, and nothing was changed
-- atomic      all of it. An event may come twice, or after one that was told later: a run that was completed stays so
local index_key = key('lineage')
local run_name = redis.sha1hex(args.runId)
local run_key = key('lineage', run_name)
local before = redis.call('HGET', run_key, 'state')
local state = args.state
if before == 'complete' or (before == 'dropped' and state == 'open') then
  state = before
end

-- What a run was about to make when it failed was not made. Another attempt begins anew.
if state == 'dropped' or before == 'dropped' then
  redis.call('DEL', run_key)
end
if state ~= 'dropped' then
  local count, bytes = unpack(redis.call('HMGET', run_key, 'count', 'bytes'))
  count, bytes = tonumber(count or '0'), tonumber(bytes or '0')
  for _, output in ipairs(args.outputs) do
    local known = redis.call('HGET', run_key, 'out:' .. output[1])
    if not known then
      count, bytes = count + 1, bytes + #output[1]
    end
    bytes = bytes + math.max(0, #output[2] - #(known or ''))
  end
  if count > args.maxOutputs or bytes > args.maxBytes then
    return {'full'}
  end
  for _, output in ipairs(args.outputs) do
    if output[2] == '' then
      redis.call('HSETNX', run_key, 'out:' .. output[1], '')
    else
      redis.call('HSET', run_key, 'out:' .. output[1], output[2])
    end
  end
  redis.call('HSET', run_key, 'count', int(count), 'bytes', int(bytes))
  if args.window then
    redis.call('HSETNX', run_key, 'window', args.window)
  end
  if args.state == 'complete' then
    redis.call('HSETNX', run_key, 'atMs', int(args.atMs))
  end
end
redis.call('HSET', run_key, 'state', state)

local at_ms, window = unpack(redis.call('HMGET', run_key, 'atMs', 'window'))
local answer = {'merged', state, tonumber(at_ms or '0'), window or '', 0}
if state == 'complete' then
  local fields = redis.call('HGETALL', run_key)
  for index = 1, #fields, 2 do
    if string.sub(fields[index], 1, 4) == 'out:' then
      answer[#answer + 1] = string.sub(fields[index], 5)
      answer[#answer + 1] = fields[index + 1]
    end
  end
end

-- Scored by when it is forgotten, so that of too many those that have ended go first, which may be this one.
local now_ms = server_ms()
local keep_ms = state == 'open' and args.openForMs or args.endedForMs
redis.call('PEXPIRE', run_key, keep_ms)
redis.call('ZADD', index_key, now_ms + keep_ms, run_name)
redis.call('ZREMRANGEBYSCORE', index_key, '-inf', now_ms)
while redis.call('ZCARD', index_key) > args.maxRuns do
  local oldest = redis.call('ZPOPMIN', index_key)[1]
  redis.call('DEL', key('lineage', oldest))
  answer[5] = answer[5] + 1
end
redis.call('PEXPIRE', index_key, math.max(args.openForMs, args.endedForMs))
return answer
