-- Claims (workflow, partition), takes the slots and creates the run, or says what stands against it.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, workflow, partition ('' for none), queued (must have been asked for by hand), createdAtMs,
--             fields [name, value, ...] of the run's hash, pools [names], poolsText, upstreamsText (JSON texts),
--             basis [{assetId, partition, version, failures}], maxRuns, poolLimits [{name, max}], eventType,
--             eventData (JSON text), eventsLimit, auditLimit; maybe maxWorkflowRuns, audit (JSON text of the trigger)
-- returns     {'submitted', run id} | {'busy', run id} | {'limit', name} | {'outdated', asset ids...} |
--             {'paused', asset ids...} | {'gone', reason}
-- atomic      every check together with the claim: two submits of one run key cannot both pass, limits cannot be exceeded
local run_key = key('run', args.runId)
local known = redis.call('HMGET', run_key, 'status', 'workflow', 'partition')
local status, workflow, partition = known[1], known[2] or args.workflow, known[3] or args.partition

-- A submit whose answer was lost is sent again.
if status == 'enqueued' or status == 'running' then
  return {'submitted', args.runId}
end
if status and status ~= 'queued' then
  return {'gone', 'the run is ' .. status .. ' already'}
end
if args.queued and not status then
  return {'gone', 'the run is not known any more'}
end
if status and redis.call('HEXISTS', key('workflows'), workflow) == 0 then
  return {'gone', 'workflow ' .. workflow .. ' was removed'}
end

local outdated = {}
for _, basis in ipairs(args.basis) do
  local fields = redis.call(
    'HMGET', key('asset', basis.assetId), 'made:' .. basis.partition, 'failed:' .. basis.partition
  )
  local version = fields[1] and cjson.decode(fields[1]).version or 0
  local failures = fields[2] and cjson.decode(fields[2]).failures or 0
  -- A partition that was forgotten by age begins anew; whoever still knows of it cannot learn that in any other way.
  local is_forgotten = not fields[1] and basis.version > 0 and basis.version <= counter(basis.assetId)
  if not is_forgotten and (version ~= basis.version or failures ~= basis.failures) then
    outdated[#outdated + 1] = basis.assetId
  end
end
if #outdated > 0 then
  return {'outdated', unpack(outdated)}
end

-- Assets ask; who asks by hand passes through.
local paused = {}
local is_any_paused = redis.call('EXISTS', key('pauses')) == 1
local is_everything_paused = is_any_paused and pause_holds('all', args.createdAtMs)
local is_workflow_paused = is_any_paused and pause_holds('workflow:' .. workflow, args.createdAtMs)
for _, basis in ipairs(is_any_paused and args.basis or {}) do
  if is_everything_paused or is_workflow_paused or pause_holds('asset:' .. basis.assetId, args.createdAtMs) then
    paused[#paused + 1] = basis.assetId
  end
end
if #paused > 0 then
  return {'paused', unpack(paused)}
end

local claim = workflow .. UNIT .. partition
local holder = redis.call('HGET', key('claims'), claim)
if holder then
  return {'busy', holder}
end

local workflow_runs = key('active', 'workflow', workflow)

-- The name of a limit that leaves no room; nil if there is room.
local function limit_reached()
  if redis.call('SCARD', key('active')) >= args.maxRuns then
    return 'global'
  end
  if args.maxWorkflowRuns and redis.call('SCARD', workflow_runs) >= args.maxWorkflowRuns then
    return 'workflow'
  end
  for _, pool in ipairs(args.poolLimits) do
    if redis.call('SCARD', key('active', 'pool', pool.name)) >= pool.max then
      return 'pool:' .. pool.name
    end
  end
end

local limit = limit_reached()
if limit then
  -- Runs that another shard has started may be in the way: it is told when one of them ends.
  if args.shard and args.shard.count > 1 then
    redis.call('SADD', key('held-back'), int(args.shard.index))
  end
  return {'limit', limit}
end

if status then
  redis.call('HSET', run_key, 'status', 'enqueued', 'pools', args.poolsText, 'upstreams', args.upstreamsText)
  redis.call('ZREM', key('queued'), args.runId)
else
  create_run(args.runId, 'enqueued', 'pools', args.poolsText, 'upstreams', args.upstreamsText)
end
redis.call('HSET', key('claims'), claim, args.runId)
redis.call('SADD', key('active'), args.runId)
redis.call('ZADD', key('unstarted'), server_ms(), args.runId)
redis.call('SADD', workflow_runs, args.runId)
for _, pool in ipairs(args.pools) do
  redis.call('SADD', key('active', 'pool', pool), args.runId)
end
-- A queued run keeps its own trigger: it was asked for by hand.
if args.audit and not status then
  redis.call(
    'XADD', KEYS[4], 'MAXLEN', '~', args.auditLimit, '*', 'atMs', int(args.createdAtMs), 'runId', args.runId,
    'workflow', workflow, 'partition', partition, 'trigger', args.audit
  )
end
publish('workflow:' .. workflow, args.eventType, args.eventData)
return {'submitted', args.runId}
