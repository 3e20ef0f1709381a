-- The steps of a migration that must not happen twice.
--
-- KEYS, ARGV  see prelude.lua
-- args        step, token (of who holds `P:schema-lock`); 'renew': lockMs; 'advance': from, to
-- returns     1, or 0 when somebody else holds the lock by now, or the version is not `from` any more
-- atomic      the check of the lock with what it guards
local lock_key = key('schema-lock')
if redis.call('GET', lock_key) ~= args.token then
  return 0
end
if args.step == 'renew' then
  redis.call('PEXPIRE', lock_key, args.lockMs)
elseif args.step == 'release' then
  redis.call('DEL', lock_key)
else
  local version = tonumber(redis.call('GET', key('schema-version')) or '1')
  if version ~= args.from then
    return 0
  end
  redis.call('SET', key('schema-version'), int(args.to))
end
return 1
