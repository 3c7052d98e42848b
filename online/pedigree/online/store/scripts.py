"""What Redis itself decides, in one step that no other writer comes between."""

from __future__ import annotations

WRITE = """
local field, written, again, empty = ARGV[1], 0, 0, true
for i, key in ipairs(KEYS) do
  local new = ARGV[i + 1]
  if empty and redis.call('HSETNX', key, field, new) == 1 then
    written = written + 1
  else
    local old = redis.call('HGET', key, field)
    local newer, own = true, false
    empty = not old
    if old then
      local oe, oc, ol = struct.unpack('>i8i8I4', old)
      local ne, nc, nl = struct.unpack('>i8i8I4', new)
      newer = ne > oe or (ne == oe and (nc > oc or (nc == oc and nl >= ol)))
      own = nl > 0 and nl == ol and new ~= old
    end
    if newer then
      redis.call('HSET', key, field, new)
    end
    if own then
      again = again + 1
    elseif newer then
      written = written + 1
    end
  end
end
return {written, again}
"""
"""Newest wins: by event time, then created time, then the later load. ARGV: the field, then a record for each key. Returns
the keys that were written, and the records that found another one of their own load; one that finds itself was sent twice.
A key is taken to be empty, which is one step less, where the one before it was."""

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
return {written, 0}
"""
"""The table's word against an earlier load's: an older record, or none ('' deletes), in place of what is there. A newer row that
was pushed stays."""

MOVE = """
local from, to, ends, moved = ARGV[1], ARGV[2], ARGV[3] == '1', 0
for _, key in ipairs(KEYS) do
  local old = redis.call('HGET', key, from)
  if old then
    local oe, oc, ol = struct.unpack('>i8i8I4', old)
    local new = redis.call('HGET', key, to)
    local newer = not new
    if new then
      local ne, nc = struct.unpack('>i8i8', new)
      newer = oe > ne or (oe == ne and oc > nc)
    end
    if ol == 0 and newer then
      redis.call('HSET', key, to, old)
      moved = moved + 1
    end
    if ends then
      redis.call('HDEL', key, from)
    end
  end
end
return moved
"""
"""Rows that were pushed go with a view into its next generation. ARGV: the field that they are in, the new one, and
whether the old one ends with this ('1')."""

REPLACE = """
local kept = redis.call('GET', KEYS[1])
if (kept or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
"""A text takes another's place, unless somebody else was quicker. ARGV: the text that is expected ('' is none), the new one."""

OPEN = """
local text = redis.call('HGET', KEYS[1], ARGV[1])
local is_whole, mark = pcall(cjson.decode, text or '')
if is_whole and type(mark) == 'table' and mark.state == 'declared' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 0
"""
"""A declared view is open once rows are written one by one; one that the store does not know stays unknown, so that rows pushed
into a flushed store do not make it look full. ARGV: the view, the mark."""

SWAP_MARK = """
local view, number, becomes = ARGV[1], ARGV[4], ARGV[5]
if (redis.call('HGET', KEYS[1], view) or '') ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], number) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], view, ARGV[3])
if becomes == '' then
  redis.call('HDEL', KEYS[2], number)
else
  redis.call('HSET', KEYS[2], number, becomes)
end
return 1
"""
"""Set a mark where it is what a load read, and the load is not struck off. ARGV: the view, the mark that was read ('' for
none), the new one, the load's number, what is kept of the open load from here on ('': it has ended). Returns 1 where it was
set."""

FORGET_LOAD = """
local field, number, gone = ARGV[1], tonumber(ARGV[2]), 0
for _, key in ipairs(KEYS) do
  local old = redis.call('HGET', key, field)
  if old then
    local _, _, ol = struct.unpack('>i8i8I4', old)
    if ol == number then
      gone = gone + redis.call('HDEL', key, field)
    end
  end
end
return gone
"""
"""Delete the records that a load wrote. ARGV: the field, the load's number."""
