-- Ends a run: frees its claim and slots, counts failures or notes dismissals of what it did not make, publishes, and
-- drops the oldest ended runs over the limit.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, status, nowMs, token, expected [{assetId, partition}], onlyQueued, runsLimit, eventType,
--             eventData (JSON text), eventsLimit; maybe error; maybe startToken: of the worker that ends it; maybe
--             overdue {kind 'lease' | 'start', sinceMs}: what was seen of the run when it was given up
-- returns     1, or 0 when the run is unknown, over already, not queued though it must be, started by another worker,
--             or not overdue any more
-- atomic      all of it: no slot is freed twice, no failure is counted twice, no run is both made and unmade
local run_key = key('run', args.runId)
local status, token, workflow, partition, pools, inputs, upstreams, start_token = unpack(redis.call(
  'HMGET', run_key, 'status', 'endToken', 'workflow', 'partition', 'pools', 'inputs', 'upstreams', 'startToken'
))
-- The same call sent again after its answer was lost.
if status and token == args.token then
  return 1
end
local active = status == 'enqueued' or status == 'running'
if not (status == 'queued' or (active and not args.onlyQueued)) then
  return 0
end
if args.startToken and status == 'running' and start_token ~= args.startToken then
  return 0
end
if args.overdue then
  local since = redis.call('ZSCORE', key(args.overdue.kind == 'lease' and 'leases' or 'unstarted'), args.runId)
  if not since or tonumber(since) ~= args.overdue.sinceMs then
    return 0
  end
end

local claim = workflow .. UNIT .. partition
if redis.call('HGET', key('claims'), claim) == args.runId then
  redis.call('HDEL', key('claims'), claim)
end
redis.call('ZREM', key('queued'), args.runId)
redis.call('ZREM', key('unstarted'), args.runId)
redis.call('ZREM', key('leases'), args.runId)
redis.call('SREM', key('active'), args.runId)
redis.call('SREM', key('active', 'workflow', workflow), args.runId)
for _, pool in ipairs(cjson.decode(pools or '[]')) do
  redis.call('SREM', key('active', 'pool', pool), args.runId)
end

local produced = {}
for _, field in ipairs(redis.call('HKEYS', key('produced', args.runId))) do
  produced[string.match(field, '^[^' .. UNIT .. ']*' .. UNIT .. '(.*)$')] = true
end

local function failed_again(asset_id, in_partition)
  local before = asset_field(asset_id, 'failed', in_partition)
  local failures = (before and before.failures or 0) + 1
  redis.call(
    'HSET', key('asset', asset_id), 'failed:' .. in_partition,
    '{"failures":' .. int(failures) .. ',"lastFailureAtMs":' .. int(args.nowMs)
      .. ',"lastFailedRunId":' .. cjson.encode(args.runId) .. '}'
  )
  return '"failures":' .. int(failures) .. ',"lastFailureAt":' .. int(args.nowMs)
end

local function dismissed(asset_id, in_partition)
  local made = asset_field(asset_id, 'made', in_partition)
  local failed = asset_field(asset_id, 'failed', in_partition)
  local read = inputs or versions_text(cjson.decode(upstreams or '[]'))
  local dismissal = '{"version":' .. int(made and made.version or 0) .. ',"inputs":' .. read .. '}'
  redis.call('HSET', key('asset', asset_id), 'dismissed:' .. in_partition, dismissal)
  return '"failures":' .. int(failed and failed.failures or 0)
    .. ',"lastFailureAt":' .. (failed and int(failed.lastFailureAtMs) or 'null') .. ',"dismissed":' .. dismissal
end

local unmade = {}
for _, asset in ipairs(args.expected) do
  if not produced[asset.assetId .. UNIT .. asset.partition] then
    local what = args.status == 'canceled' and dismissed or failed_again
    unmade[#unmade + 1] = '{"assetId":' .. cjson.encode(asset.assetId)
      .. ',"partitionKey":' .. (asset.partition == '' and 'null' or cjson.encode(asset.partition))
      .. ',' .. what(asset.assetId, asset.partition) .. '}'
  end
end

redis.call('HSET', run_key, 'status', args.status, 'endedAtMs', int(args.nowMs), 'endToken', args.token)
if args.error then
  redis.call('HSET', run_key, 'error', args.error)
end
-- Shards that were refused a run because of a limit: there is room now.
for _, name in ipairs(redis.call('SMEMBERS', key('held-back'))) do
  also_told[name] = true
end
redis.call('DEL', key('held-back'))
publish('workflow:' .. workflow, args.eventType, args.eventData, 'unmade', '[' .. table.concat(unmade, ',') .. ']')

local ended_key = key('ended')
redis.call('ZADD', ended_key, args.nowMs, args.runId)
local excess = redis.call('ZCARD', ended_key) - args.runsLimit
if excess > 0 then
  -- Bounded, so that a lowered limit is worked off over several runs and never blocks the server.
  local popped = redis.call('ZPOPMIN', ended_key, math.min(excess, 100))
  for index = 1, #popped, 2 do
    local old = popped[index]
    redis.call('ZREM', key('runs'), old)
    redis.call('DEL', key('run', old), key('steps', old), key('produced', old))
  end
end
return 1
