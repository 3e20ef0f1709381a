-- Records one materialization: version, inputs, latest, history, cleared failure and dismissal, and `asset.produced`.
--
-- KEYS, ARGV  see prelude.lua
-- args        assetId, partition ('' for none), producedAtMs, upstreams [ids], given (JSON text), entry (JSON text),
--             eventType, eventData (JSON text), eventsLimit, historyLimit, seenForMs, seen [texts];
--             where there are any: runId, stepId, dataVersion, startToken (of the worker that started the run)
-- returns     {'recorded' | 'duplicate', version, changed 0|1} or {'fenced', status}
-- atomic      the check against duplicates, ended runs and other workers, and everything that is written
local asset_key = key('asset', args.assetId)
local step = args.stepId or ''
local status, start_token, produced_key, produced_field
if args.runId then
  status, start_token = unpack(redis.call('HMGET', key('run', args.runId), 'status', 'startToken'))
  -- Without this a worker would be taken for an outsider once its run is dropped from the history.
  if args.startToken and start_token ~= args.startToken then
    return {'fenced', status and status .. ' by another worker' or 'dropped'}
  end
  produced_field = step .. UNIT .. args.assetId .. UNIT .. args.partition
  if status then
    produced_key = key('produced', args.runId)
  else
    table.insert(args.seen, 'run' .. UNIT .. args.runId .. UNIT .. produced_field)
  end
end

local earlier = produced_key and redis.call('HGET', produced_key, produced_field)
local seen_keys = {}
for index, text in ipairs(args.seen) do
  seen_keys[index] = key('seen', redis.sha1hex(text))
  earlier = earlier or redis.call('GET', seen_keys[index])
end
if earlier then
  local version, changed = string.match(earlier, '^(%d+):(%d)$')
  return {'duplicate', tonumber(version), tonumber(changed)}
end
if status and status ~= 'running' then
  return {'fenced', status}
end

local captured = status and cjson.decode(redis.call('HGET', key('run', args.runId), 'inputs') or '{}') or nil
local inputs = versions_text(args.upstreams, captured)
local before = asset_field(args.assetId, 'made', args.partition)
local version = redis.call('HINCRBY', key('counters'), args.assetId, 1)
local changed = 1
local changed_version = version
local produced_at = args.producedAtMs
if before then
  if args.dataVersion and before.given.dataVersion == args.dataVersion then
    changed = 0
    changed_version = before.changedVersion
  end
  produced_at = math.max(produced_at, before.producedAtMs)
end

local made = '{"version":' .. int(version) .. ',"changedVersion":' .. int(changed_version)
  .. ',"producedAtMs":' .. int(produced_at) .. ',"inputs":' .. inputs .. ',"given":' .. args.given .. '}'
redis.call('HSET', asset_key, 'made:' .. args.partition, made)
redis.call('HDEL', asset_key, 'failed:' .. args.partition, 'dismissed:' .. args.partition, 'expired:' .. args.partition)

local history_key = key('history', args.assetId)
redis.call('LPUSH', history_key, '{"made":' .. made .. ',"entry":' .. args.entry .. '}')
redis.call('LTRIM', history_key, 0, args.historyLimit - 1)

local mark = int(version) .. ':' .. changed
if produced_key then
  redis.call('HSET', produced_key, produced_field, mark)
end
for _, seen_key in ipairs(seen_keys) do
  redis.call('SET', seen_key, mark, 'PX', args.seenForMs)
end
publish('asset:' .. args.assetId, args.eventType, args.eventData, 'version', int(version), 'changedVersion', int(changed_version), 'inputs', inputs)
return {'recorded', version, changed}
