"""Stored entries of a zip file, as views; nothing is decompressed, nothing is written anywhere.

Not the standard library's zipfile: it makes some 500 bytes of objects for each 46 bytes of
directory, trusts sizes until it reads, and copies. Here the directory is bounded, and every entry
must be stored, lie inside the file and before the directory, overlap no other, and have a name of
its own. CRCs are not checked: torch can be told to leave them out.
"""

from __future__ import annotations

import itertools
import struct

from skipstream_convert.errors import ConvertError, quoted

MAGIC = b"PK\x03\x04"

_MAX_ENTRIES = 100_000
_MAX_COMMENT = 0xFFFF
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA64 = 0x0001


def read_entries(data: memoryview) -> dict[str, memoryview]:
    """Every entry's bytes by name."""
    count, offset, size, limit = _find_directory(data)
    if count > _MAX_ENTRIES:
        raise ConvertError(f"zip: {count} entries; at most {_MAX_ENTRIES} are read")
    if offset + size > limit:
        raise ConvertError("zip: the directory lies outside the file")
    directory = data[offset : offset + size]
    entries: dict[str, memoryview] = {}
    spans: list[tuple[int, int, str]] = []
    position = 0
    for _ in range(count):
        name, begin, end, position = _read_entry(data, offset, directory, position)
        if name in entries:
            raise ConvertError(f"zip: entry {quoted(name)} occurs twice")
        entries[name] = data[begin:end]
        spans.append((begin, end, name))
    spans.sort()
    for (_, end, _), (begin, _, name) in itertools.pairwise(spans):
        if begin < end:
            raise ConvertError(f"zip: entry {quoted(name)} overlaps another")
    return entries


def _find_directory(data: memoryview) -> tuple[int, int, int, int]:
    """Entries, offset and size of the directory, and where it must end at the latest."""
    tail_start = max(0, len(data) - _END.size - _MAX_COMMENT)
    tail = bytes(data[tail_start:])
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise ConvertError("zip: the end of the directory is missing; the file is cut off")
    end_at = tail_start + at
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(data, end_at)
    if disk not in (0, 0xFFFF) or first_disk not in (0, 0xFFFF):
        raise ConvertError("zip: the archive has several parts")
    if count != 0xFFFF and size != 0xFFFFFFFF and offset != 0xFFFFFFFF:
        return count, offset, size, end_at
    locator_at = end_at - _END64_LOCATOR.size
    if locator_at < 0:
        raise ConvertError("zip: the 64-bit directory is missing")
    magic, _, end64_at, _ = _END64_LOCATOR.unpack_from(data, locator_at)
    if magic != b"PK\x06\x07" or end64_at + _END64.size > locator_at:
        raise ConvertError("zip: the 64-bit directory is missing")
    magic, _, _, _, _, _, _, count, size, offset = _END64.unpack_from(data, end64_at)
    if magic != b"PK\x06\x06":
        raise ConvertError("zip: the 64-bit directory is missing")
    return count, offset, size, end64_at


def _read_entry(
    data: memoryview, directory_at: int, directory: memoryview, position: int
) -> tuple[str, int, int, int]:
    if position + _ENTRY.size > len(directory):
        raise ConvertError("zip: the directory is cut off")
    fields = _ENTRY.unpack_from(directory, position)
    magic, _, _, flags, method, _, _, _, packed, size, name_bytes, extra_bytes, comment_bytes = (
        fields[:13]
    )
    local_at = fields[16]
    if magic != b"PK\x01\x02":
        raise ConvertError("zip: the directory is corrupt")
    name_at = position + _ENTRY.size
    extra_at = name_at + name_bytes
    next_position = extra_at + extra_bytes + comment_bytes
    if next_position > len(directory):
        raise ConvertError("zip: the directory is cut off")
    name = _checked_name(bytes(directory[name_at:extra_at]))
    size, packed, local_at = _widened(
        directory[extra_at : extra_at + extra_bytes], size, packed, local_at
    )
    if method != 0 or packed != size:
        raise ConvertError(
            f"zip: entry {quoted(name)} is compressed; torch stores entries as they are"
        )
    if flags & 1:
        raise ConvertError(f"zip: entry {quoted(name)} is encrypted")
    if local_at + _LOCAL.size > directory_at:
        raise ConvertError(f"zip: entry {quoted(name)} lies outside the file")
    local = _LOCAL.unpack_from(data, local_at)
    begin = local_at + _LOCAL.size + local[9] + local[10]
    same_name = data[local_at + _LOCAL.size : local_at + _LOCAL.size + local[9]] == name.encode()
    if local[0] != MAGIC or local[3] != 0 or not same_name:
        raise ConvertError(f"zip: entry {quoted(name)} differs from what the directory says")
    if begin + size > directory_at:
        raise ConvertError(f"zip: entry {quoted(name)} lies outside the file")
    return name, begin, begin + size, next_position


def _widened(extra: memoryview, size: int, packed: int, local_at: int) -> tuple[int, int, int]:
    """Fields of all ones stand in the 64-bit extra field, in this order."""
    values = [size, packed, local_at]
    wanted = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
    if not wanted:
        return size, packed, local_at
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == _EXTRA64 and 8 * len(wanted) <= length <= len(extra) - position - 4:
            wide = struct.unpack_from(f"<{len(wanted)}Q", extra, position + 4)
            for i, value in zip(wanted, wide, strict=True):
                values[i] = value
            return values[0], values[1], values[2]
        position += 4 + length
    raise ConvertError("zip: the 64-bit sizes of an entry are missing")


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise ConvertError("zip: the name of an entry is not UTF-8") from None
    if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise ConvertError(f"zip: entry {quoted(name)} is no path inside the archive")
    return name
