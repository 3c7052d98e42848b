"""What Redis itself decides, in one step that no other writer comes between."""

from __future__ import annotations

WRITE = """
local field, written = ARGV[1], 0
for i, key in ipairs(KEYS) do
  local new = ARGV[i + 1]
  local old = redis.call('HGET', key, field)
  local newer = not old
  if old then
    local oe, oc, ol = struct.unpack('>i8i8I4', old)
    local ne, nc, nl = struct.unpack('>i8i8I4', new)
    newer = ne > oe or (ne == oe and (nc > oc or (nc == oc and nl >= ol)))
  end
  if newer then
    redis.call('HSET', key, field, new)
    written = written + 1
  end
end
return written
"""
"""Newest wins: by event time, then created time, then the later load. ARGV: the field, then a record for each key."""

RESTORE = """
local field, written = ARGV[1], 0
for i, key in ipairs(KEYS) do
  local new = ARGV[i + 1]
  local old = redis.call('HGET', key, field)
  local pushed = false
  if old then
    local oe, oc, ol = struct.unpack('>i8i8I4', old)
    pushed = ol == 0
    if pushed and new ~= '' then
      local ne, nc = struct.unpack('>i8i8', new)
      pushed = oe > ne or (oe == ne and oc > nc)
    end
  end
  if not pushed then
    if new == '' then
      written = written + redis.call('HDEL', key, field)
    else
      redis.call('HSET', key, field, new)
      written = written + 1
    end
  end
end
return written
"""
"""The table's word against an earlier load's: an older record, or none ('' deletes), in place of what is there. A newer row that
was pushed stays."""

OPEN = """
local mark = redis.call('HGET', KEYS[1], ARGV[1])
if mark and cjson.decode(mark).state == 'declared' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 0
"""
"""A declared view is open once rows are written one by one; one that the store does not know stays unknown, so that rows pushed
into a flushed store do not make it look full. ARGV: the view, the mark."""
