-- Looks whether one thing about assets or workflows is as it must not be, and mends it if told to.
--
-- KEYS, ARGV  see prelude.lua
-- args        kind, fix; by kind: assetId, field, text, version, partition, definitions [{slug, sha1}], slug
-- returns     1 when it is so (and is mended now, with `fix`), else 0
-- atomic      the look and the mend; a text that was found to be bad is compared, not read again
local KINDS = {'made', 'failed', 'dismissed', 'expired'}

-- The definitions are those by which it was judged, and no run is at work on the partition.
local function is_unreachable_still()
  for _, definition in ipairs(args.definitions) do
    local text = redis.call('HGET', key('workflows'), definition.slug)
    if not text or redis.sha1hex(text) ~= definition.sha1 then
      return false
    end
    if redis.call('HEXISTS', key('claims'), definition.slug .. UNIT .. args.partition) == 1 then
      return false
    end
  end
  for _, kind in ipairs(KINDS) do
    if redis.call('HEXISTS', key('asset', args.assetId), kind .. ':' .. args.partition) == 1 then
      return true
    end
  end
  return false
end

-- Of each kind: whether it is so, and what mends it.
local kinds = {}

kinds['field-unreadable'] = {
  function()
    return redis.call('HGET', key('asset', args.assetId), args.field) == args.text
  end,
  function()
    redis.call('HDEL', key('asset', args.assetId), args.field)
  end,
}

kinds['history-unreadable'] = {
  function()
    return redis.call('LPOS', key('history', args.assetId), args.text)
  end,
  function()
    redis.call('LREM', key('history', args.assetId), 0, args.text)
  end,
}

kinds['counter-behind'] = {
  function()
    local kept = redis.call('HGET', key('counters'), args.assetId)
    return (tonumber(kept or '0') or 0) < args.version
  end,
  function()
    redis.call('HSET', key('counters'), args.assetId, int(args.version))
  end,
}

kinds['partition-unreachable'] = {
  is_unreachable_still,
  function()
    for _, kind in ipairs(KINDS) do
      redis.call('HDEL', key('asset', args.assetId), kind .. ':' .. args.partition)
    end
  end,
}

kinds['parameters-without-workflow'] = {
  function()
    return redis.call('EXISTS', key('parameters', args.slug)) == 1
      and redis.call('HEXISTS', key('workflows'), args.slug) == 0
  end,
  function()
    redis.call('UNLINK', key('parameters', args.slug))
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
