-- Looks whether one thing about runs is as it must not be, and mends it if told to.
--
-- KEYS, ARGV  see prelude.lua
-- args        kind, fix; runId; by kind: claim (workflow, partition), name (of a zset or set, or 'steps' | 'produced');
--             'unclaimed': nowMs, token, error, eventType, eventData (JSON text), eventsLimit
-- returns     1 when it is so (and is mended now, with `fix`), else 0
-- atomic      the look and the mend: what ends or begins meanwhile is no finding, and nothing that is right is undone
local run_key = key('run', args.runId)
local status, workflow, partition, pools_text =
  unpack(redis.call('HMGET', run_key, 'status', 'workflow', 'partition', 'pools'))
-- A damaged run may lack either.
workflow, partition = workflow or '', partition or ''
local own_claim = workflow .. UNIT .. partition
local is_active = status == 'enqueued' or status == 'running'
local is_over = status == 'succeeded' or status == 'failed' or status == 'canceled' or status == 'lost'

local function decoded(text)
  local is_json, value = pcall(cjson.decode, text)
  return is_json and value
end

local pools = pools_text and decoded(pools_text)
pools = type(pools) == 'table' and pools or {}

-- The sets in which an active run counts.
local function slots()
  local names = {key('active'), key('active', 'workflow', workflow)}
  for _, pool in ipairs(pools) do
    names[#names + 1] = key('active', 'pool', pool)
  end
  return names
end

local function holder_of(claim)
  local run_id = redis.call('HGET', key('claims'), claim)
  return run_id, run_id and redis.call('HGET', key('run', run_id), 'status')
end

local function let_go(run_id)
  for _, name in ipairs(slots()) do
    redis.call('SREM', name, run_id)
  end
  for _, name in ipairs({'queued', 'unstarted', 'leases'}) do
    redis.call('ZREM', key(name), run_id)
  end
end

-- An active run whose claim another one holds: no two may work on one partition, and this one came second.
local function end_as_lost()
  let_go(args.runId)
  redis.call(
    'HSET', run_key, 'status', 'lost', 'endedAtMs', int(args.nowMs), 'endToken', args.token, 'error', args.error
  )
  redis.call('ZADD', key('ended'), args.nowMs, args.runId)
  publish('workflow:' .. workflow, args.eventType, args.eventData, 'unmade', '[]')
end

-- Of each kind: whether it is so, and what mends it.
local kinds = {}

kinds['claim-without-run'] = {
  function()
    return redis.call('HGET', key('claims'), args.claim) == args.runId
      and not (is_active and own_claim == args.claim)
  end,
  function()
    redis.call('HDEL', key('claims'), args.claim)
  end,
}

kinds['run-without-claim'] = {
  function()
    return is_active and holder_of(own_claim) ~= args.runId
  end,
  function()
    local _, other = holder_of(own_claim)
    if other == 'enqueued' or other == 'running' then
      end_as_lost()
    else
      redis.call('HSET', key('claims'), own_claim, args.runId)
    end
  end,
}

kinds['slot-without-run'] = {
  function()
    if redis.call('SISMEMBER', key(args.name), args.runId) == 0 then
      return false
    end
    for _, name in ipairs(is_active and slots() or {}) do
      if name == key(args.name) then
        return false
      end
    end
    return true
  end,
  function()
    redis.call('SREM', key(args.name), args.runId)
  end,
}

kinds['run-without-slot'] = {
  function()
    for _, name in ipairs(is_active and slots() or {}) do
      if redis.call('SISMEMBER', name, args.runId) == 0 then
        return true
      end
    end
    return false
  end,
  function()
    for _, name in ipairs(slots()) do
      redis.call('SADD', name, args.runId)
    end
  end,
}

-- What a run must be to stand in each list.
local in_list = {
  queued = function() return status == 'queued' end,
  unstarted = function() return status == 'enqueued' end,
  leases = function() return status == 'running' end,
  runs = function() return status end,
  ended = function() return is_over end,
}

kinds['entry-without-run'] = {
  function()
    return redis.call('ZSCORE', key(args.name), args.runId) and not in_list[args.name]()
  end,
  function()
    redis.call('ZREM', key(args.name), args.runId)
  end,
}

kinds['run-without-entry'] = {
  function()
    return in_list[args.name]() and not redis.call('ZSCORE', key(args.name), args.runId)
  end,
  function()
    local field = args.name == 'ended' and 'endedAtMs' or 'createdAtMs'
    -- How long its start was waited for is not known any more: the wait begins anew.
    local score = args.name == 'unstarted' and server_ms() or redis.call('HGET', run_key, field) or 0
    redis.call('ZADD', key(args.name), score, args.runId)
  end,
}

kinds['records-without-run'] = {
  function()
    return redis.call('EXISTS', key(args.name, args.runId)) == 1 and redis.call('EXISTS', run_key) == 0
  end,
  function()
    redis.call('UNLINK', key(args.name, args.runId))
  end,
}

kinds['run-unreadable'] = {
  function()
    if redis.call('EXISTS', run_key) == 0 then
      return false
    end
    local parameters, trigger, created_at =
      unpack(redis.call('HMGET', run_key, 'parameters', 'trigger', 'createdAtMs'))
    return redis.call('HEXISTS', run_key, 'workflow') == 0
      or redis.call('HEXISTS', run_key, 'partition') == 0
      or not (parameters and trigger and created_at and tonumber(created_at))
      or not (is_active or is_over or status == 'queued')
      or type(decoded(parameters)) ~= 'table'
      or type(decoded(trigger)) ~= 'table'
  end,
  function()
    let_go(args.runId)
    if redis.call('HGET', key('claims'), own_claim) == args.runId then
      redis.call('HDEL', key('claims'), own_claim)
    end
    redis.call('ZREM', key('runs'), args.runId)
    redis.call('ZREM', key('ended'), args.runId)
    redis.call('UNLINK', run_key, key('steps', args.runId), key('produced', args.runId))
  end,
}

local is_so, mend = unpack(kinds[args.kind])
if not is_so() then
  return 0
end
if args.fix then
  mend()
end
return 1
