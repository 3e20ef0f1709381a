-- Put in front of every script of the catalog when it is loaded.
--
-- KEYS[1]  the prefix under which every key of one catalog lives. The names behind it are built here, because which
--          asset, run, workflow and pool a script touches is only known inside it; so a Redis Cluster is not served.
-- KEYS[2]  the stream of events; KEYS[3]  of dead letters; KEYS[4]  of audit entries
-- ARGV[1]  the arguments as one JSON object. What is stored or published as JSON comes in as text, made by Python, and
--          is passed on as it is: cjson would turn [] into {} and shorten long numbers.
local args = cjson.decode(ARGV[1])
local UNIT = '\31'

local function key(...)
  return KEYS[1] .. ':' .. table.concat({...}, ':')
end

local function int(number)
  return string.format('%.0f', number)
end

local function server_ms()
  local seconds, microseconds = unpack(redis.call('TIME'))
  return tonumber(seconds) * 1000 + math.floor(tonumber(microseconds) / 1000)
end

local function counter(asset_id)
  return tonumber(redis.call('HGET', key('counters'), asset_id) or '0')
end

-- The JSON text of {asset id: version}: from `captured` where it is there, else the counter now.
local function versions_text(asset_ids, captured)
  local parts = {}
  for _, asset_id in ipairs(asset_ids) do
    local version = captured and captured[asset_id] or counter(asset_id)
    parts[#parts + 1] = cjson.encode(asset_id) .. ':' .. int(version)
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- A JSON field of an asset's hash, or nil.
local function asset_field(asset_id, kind, partition)
  local text = redis.call('HGET', key('asset', asset_id), kind .. ':' .. partition)
  return text and cjson.decode(text) or nil
end

-- Whether the pause of a scope holds at a time.
local function pause_holds(scope, now_ms)
  local text = redis.call('HGET', key('pauses'), scope)
  local until_ms = text and cjson.decode(text).untilMs
  return text and (not until_ms or until_ms > now_ms)
end

-- Drops the pauses that ended before `args.forgetMs`.
local function forget_pauses()
  for _, scope in ipairs(redis.call('HKEYS', key('pauses'))) do
    if not pause_holds(scope, args.forgetMs) then
      redis.call('HDEL', key('pauses'), scope)
    end
  end
end

-- Into how many shards the services that lead now divide the catalog.
local function shard_count()
  return tonumber(redis.call('HGET', key('layout'), 'count') or '1')
end

local function lead_key(shard)
  return shard.count == 1 and key('leader') or key('leader', int(shard.index) .. 'of' .. int(shard.count))
end

-- The shards that are told of an event though it is none of their interests.
local also_told = {}

-- The shards that are to hear of `about`: 'asset:ID', 'workflow:SLUG', or 'all'. Of a workflow that is new, so that none
-- has asked to hear of it yet, all of them.
local function hearers(about, count)
  local found = {}
  local is_asked_for = false
  for index = 0, count - 1 do
    local name = int(index)
    local is_asked = about ~= 'all' and redis.call('SISMEMBER', key('shard', name, 'interests'), about) == 1
    is_asked_for = is_asked_for or is_asked
    if about == 'all' or is_asked or also_told[name] then
      found[#found + 1] = name
    end
  end
  if not is_asked_for and string.find(about, '^workflow:') then
    return hearers('all', count)
  end
  return found
end

-- Appends an event to the log of all that happened, and from there to the streams of the shards that are to hear of it.
local function publish(about, event_type, data, ...)
  local entry_id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', args.eventsLimit, '*', 'type', event_type, 'data', data, ...)
  local count = shard_count()
  for _, name in ipairs(count > 1 and hearers(about, count) or {}) do
    redis.call(
      'XADD', key('shard', name, 'events'), 'MAXLEN', '~', args.eventsLimit, '*', 'pos', entry_id, 'type', event_type,
      'data', data, ...
    )
  end
end

local function create_run(run_id, status, ...)
  local fields = {...}
  for _, text in ipairs(args.fields) do
    fields[#fields + 1] = text
  end
  redis.call('HSET', key('run', run_id), 'status', status, unpack(fields))
  redis.call('ZADD', key('runs'), args.createdAtMs, run_id)
end

-- What a leader writes carries its term: once another has taken the lead, or the catalog is divided anew, nothing of the
-- former is carried out.
if args.term then
  local term = shard_count() == args.shard.count and redis.call('HGET', lead_key(args.shard), 'term')
  if term ~= int(args.term) then
    return {'deposed', tonumber(term or '0')}
  end
end
