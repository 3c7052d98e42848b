"""JSON that every reader and every database takes: RFC 8259, unique names, finite numbers, 64 bits, no NUL, whole Unicode."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from pedigree.lineage.errors import LineageError

MAX_DEPTH = 100
SMALLEST, LARGEST = -(2**63), 2**63 - 1
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*+"?', re.DOTALL)
ESCAPED_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class NotStrictJsonError(LineageError):
    """A document that some reader or database could not take; the message says what is wrong with it."""


class TooManyMembersError(LineageError):
    """A document with more members than are taken."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"It holds more than {limit:,} members of objects and lists")


def parse(raw: bytes, *, max_members: int) -> Any:
    """The document in `raw`.

    Raises:
        NotStrictJsonError: it is no JSON, or JSON that not everybody can keep.
        TooManyMembersError: its objects and lists have more than `max_members` members together.
    """
    try:
        text = raw.decode("utf-8-sig")
        check_size(text, max_members)
        found = json.loads(
            text,
            object_pairs_hook=unique_names,
            parse_constant=refuse_constant,
            parse_float=finite,
            parse_int=whole,
        )
    except UnicodeDecodeError as error:
        raise NotStrictJsonError(f"it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise too_deep() from error
    except ValueError as error:
        raise NotStrictJsonError(str(error)) from error
    check(found, max_members)
    return found


def check_size(text: str, max_members: int) -> None:
    """Raises TooManyMembersError for a text that is seen to have too many members before it takes memory to parse it."""
    if sum(map(text.count, ",[{")) <= max_members:
        return
    bare = STRINGS.sub("", text)
    if bare.count(",") >= max_members or bare.count("[") + bare.count("{") > max_members + 1:
        raise TooManyMembersError(max_members)


def check(document: Any, max_members: int) -> None:
    """Raises the error of `parse` if a document is too deep, too large, or holds text that cannot be stored."""
    layer, members = [document], 0
    for _ in range(MAX_DEPTH + 1):
        layer = [member for each in layer for member in members_of(each)]
        members += len(layer)
        if members > max_members:
            raise TooManyMembersError(max_members)
        if not layer:
            return
    raise too_deep()


def members_of(value: Any) -> Iterator[Any]:
    """The values inside an object or a list; every text on the way is checked."""
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, dict):
        for name in value:
            storable(name)
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def storable(text: str) -> None:
    """Raises NotStrictJsonError for a text that PostgreSQL or UTF-8 cannot hold."""
    found = UNSTORABLE.search(text)
    if found:
        what = "NUL" if found[0] == "\0" else "half of a surrogate pair"
        around = text[max(found.start() - 30, 0) : found.end() + 30]
        raise NotStrictJsonError(f"the text {around!a} holds {what} (U+{ord(found[0]):04X}), which no database keeps")


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, each of whose names stands once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice[:100]!a} stands twice in one object")
    return found


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is no JSON number")


def finite(text: str) -> float:
    """A number with a fraction or an exponent."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def whole(text: str) -> int:
    """A whole number of at most 64 bits."""
    number = int(text) if len(text) <= 20 else LARGEST + 1
    if not SMALLEST <= number <= LARGEST:
        raise ValueError(f"the whole number {text[:40]} does not fit into 64 bits")
    return number


def too_deep() -> NotStrictJsonError:
    """The refusal of a document that is nested too deeply."""
    return NotStrictJsonError(f"it is nested more than {MAX_DEPTH} levels deep")


def dumps(value: Any) -> str:
    """Any value as the text of a strict document; what JSON does not have is written as text, as `plain` says."""
    return json.dumps(plain(value), allow_nan=False)


def plain(value: Any, depth: int = 0) -> Any:
    r"""Any value as strict JSON.

    NaN and the infinities become their names, whole numbers beyond 64 bits hexadecimal text, NUL and halves of surrogate pairs
    Python's escapes (`\x00`, `\udcff`), other objects their `str`; what is nested too deeply becomes a remark.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, int):
        return int(value) if SMALLEST <= value <= LARGEST else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return plain_members(value, depth)
    return described(value)


def plain_members(
    value: Mapping[Any, Any] | list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any], depth: int
) -> Any:
    """An object or a list as strict JSON."""
    if depth >= MAX_DEPTH - 1 and value:
        return f"({type(value).__name__}, nested too deeply to be kept)"
    if isinstance(value, Mapping):
        return {
            plain_text(name if isinstance(name, str) else described(name)): plain(value[name], depth + 1)
            for name in value
        }
    return [plain(each, depth + 1) for each in value]


def tolerant(text: str | bytes) -> Any:
    """What a database holds as strict JSON, also where an earlier release stored what `parse` refuses.

    Such values become text as in `plain`; a document that cannot be read at all becomes a remark with its beginning.
    """
    try:
        found = json.loads(text, parse_constant=str, parse_int=readable_number, parse_float=readable_number)
    except (ValueError, RecursionError):
        return {"unreadable": described(text[:200])}
    return plain(found) if ESCAPED_UNSTORABLE.search(text if isinstance(text, str) else text.decode()) else found


def readable_number(text: str) -> int | float | str:
    """A stored number; its text if JSON has no such number."""
    if text.lstrip("-").isdigit() and len(text) <= 20:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else text


def described(value: Any) -> str:
    """What an object that JSON does not have says of itself."""
    try:
        return plain_text(str(value))
    except Exception as error:  # anybody's object; what it is must not stop the record of what was done
        return f"({type(value).__name__}, whose text cannot be had: {type(error).__name__})"


def plain_text(text: str) -> str:
    """A text that every database keeps."""
    if not UNSTORABLE.search(text):
        return str(text)
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
