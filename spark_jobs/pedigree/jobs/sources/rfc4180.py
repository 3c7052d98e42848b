"""CSV by RFC 4180, looked through byte by byte before Spark reads it: Spark's reader mends in silence what is not CSV.

A record has as many values as there are columns and ends with LF or CRLF. A value with a quote, a comma or a line break in it
stands in quotes, with each of its own quotes written twice. Pure: chunks of bytes in, the layout or the broken line out.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from pedigree.features.sources import Encoding

WIDE = frozenset({"UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"})
"""Encodings in which a line break is more than one byte."""

MARKS = (
    (codecs.BOM_UTF32_LE, frozenset({"UTF-32"}), "UTF-32"),
    (codecs.BOM_UTF32_BE, frozenset({"UTF-32"}), "UTF-32"),
    (codecs.BOM_UTF8, frozenset({"UTF-8"}), "UTF-8"),
    (codecs.BOM_UTF16_LE, frozenset({"UTF-16", "UTF-16LE"}), "UTF-16"),
    (codecs.BOM_UTF16_BE, frozenset({"UTF-16", "UTF-16BE"}), "UTF-16"),
)
"""Byte order marks, the encodings that may be declared of a file that starts with one, and the one to declare."""

LF, CR, QUOTE, COMMA = b'\n\r",'
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

LONGEST = 16 * 1024 * 1024
"""The most bytes of a record. Without it a quote that is never closed would have the rest of a file kept in memory."""


class NotCsvError(ValueError):
    """A line of a file is not what was declared. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(f"line {line}: {reason}.")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file that is CSV holds: records, the header among them, whether a line break is part of some value, and what ends
    records; where no value has a line break, some may end with LF and others with CRLF.
    """

    records: int
    has_breaks: bool
    line_end: Literal["\n", "\r\n"]


@dataclass(frozen=True)
class Part:
    """Bytes of a file that start with a record."""

    content: bytes

    @cached_property
    def data(self) -> Bytes:
        """The bytes."""
        return np.frombuffer(self.content, np.uint8)

    @cached_property
    def quotes(self) -> Places:
        """Where the quotes are: the first opens a value, the next one closes it, and so on. A quote in a value does both."""
        return self.places(QUOTE)

    def places(self, byte: int) -> Places:
        """Where a byte is."""
        return np.flatnonzero(self.data == byte) if byte in self.content else np.empty(0, np.int64)

    def outside(self, byte: int) -> Places:
        """Where a byte is that is not in quotes."""
        found = self.places(byte)
        return found[np.searchsorted(self.quotes, found) & 1 == 0] if len(self.quotes) else found

    def line(self, at: int, lines: int) -> int:
        """The line of a byte, after so many lines."""
        return lines + self.content.count(b"\n", 0, at) + 1

    def refuse_characters(self, lines: int) -> None:
        """Raise where a character is where it cannot be; the first of them is told."""
        opens, closes, returns = self.quotes[::2], self.quotes[1::2], self.outside(CR)
        broken = [
            (self.content.find(b"\0"), "it has a NUL in it, which is in no text; is it in another encoding"),
            (first(opens, ~self.follows(opens, b'\n,"')), "a quote stands in a value that does not begin with one"),
            (first(closes, ~self.precedes(closes, b'\r\n,"')), "something follows the quote that ends a value"),
            (first(returns, ~self.precedes(returns, b"\n")), "a carriage return stands alone"),
        ]
        at, reason = min((one for one in broken if one[0] >= 0), default=(-1, ""))
        if at < 0:
            return
        line, began = (
            self.line(at, lines),
            self.line(int(self.quotes[self.quotes < at][-1]), lines) if reason.startswith("some") else 0,
        )
        raise NotCsvError(line, reason + (f", which began on line {began}" if began and began != line else ""))

    def follows(self, places: Places, bytes_before: bytes) -> Flags:
        """Where a place is the first one, or right behind one of some bytes."""
        found: Flags = (places == 0) | np.isin(self.data[places - 1], np.frombuffer(bytes_before, np.uint8))
        return found

    def precedes(self, places: Places, bytes_behind: bytes) -> Flags:
        """Where a place is the last one, or right before one of some bytes."""
        last = len(self.data) - 1
        behind = self.data[np.minimum(places + 1, last)]
        found: Flags = (places == last) | np.isin(behind, np.frombuffer(bytes_behind, np.uint8))
        return found


def first(places: Places, is_wrong: Flags) -> int:
    """The first place that is wrong; -1 where none is."""
    return int(places[int(np.argmax(is_wrong))]) if is_wrong.any() else -1


@dataclass(slots=True)
class Scan:
    """A file on its way. What is taken of it are whole records; `tail` is the beginning of the next one.

    Attributes:
        lines: line breaks in what was taken, those in values too.
        blank: the first of the blank lines that nothing has followed yet.
        ends: how many records ended with LF alone, and how many with CRLF.
    """

    columns: int
    tail: bytes = b""
    lines: int = 0
    blank: int | None = None
    records: int = 0
    has_breaks: bool = False
    ends: list[int] = field(default_factory=lambda: [0, 0])

    def feed(self, more: bytes) -> None:
        """Take the next bytes of the file, in UTF-8.

        Raises:
            NotCsvError: something in them is not CSV.
        """
        part = Part(self.tail + more)
        ends = part.outside(LF)
        cut = int(ends[-1]) + 1 if len(ends) else 0
        if cut:
            self.take(Part(part.content[:cut]), ends)
        self.tail = part.content[cut:]
        if len(self.tail) > LONGEST:
            self.refuse_unended()

    def take(self, part: Part, ends: Places) -> None:
        """Take whole records, and raise where one has a wrong character, or more or fewer values than there are columns."""
        part.refuse_characters(self.lines)
        starts = np.concatenate([[0], ends[:-1] + 1])
        is_crlf = (part.data[ends - 1] == CR) & (ends > starts)
        counts = np.diff(np.searchsorted(part.outside(COMMA), ends), prepend=0) + 1
        breaks = part.places(LF)
        lines = self.lines + np.searchsorted(breaks, starts) + 1
        self.judge(counts, lines, is_blank=ends - starts == is_crlf)
        self.ends[0] += int((~is_crlf).sum())
        self.ends[1] += int(is_crlf.sum())
        self.has_breaks = self.has_breaks or len(breaks) > len(ends) or len(part.places(CR)) > len(part.outside(CR))
        self.lines += len(breaks)

    def judge(self, counts: Places, lines: Places, *, is_blank: Flags) -> None:
        """Count records, of which each has so many values and begins on a line."""
        blank, filled = np.flatnonzero(is_blank), np.flatnonzero(~is_blank)
        if len(filled) and self.blank is not None:
            raise NotCsvError(self.blank, "it is blank")
        wrong = np.flatnonzero(~is_blank & (counts != self.columns))
        is_before = len(blank) and len(filled) and blank[0] < filled[-1]
        if is_before and (not len(wrong) or blank[0] < wrong[0]):
            raise NotCsvError(int(lines[blank[0]]), "it is blank")
        if len(wrong):
            first = wrong[0]
            raise NotCsvError(
                int(lines[first]), f"it has {counts[first]} values where the schema has {self.columns} columns"
            )
        if len(blank) and self.blank is None:
            self.blank = int(lines[blank[0]])
        self.records += len(filled)

    def refuse_unended(self) -> None:
        """Raise for a record that does not end."""
        part = Part(self.tail)
        part.refuse_characters(self.lines)
        raise NotCsvError(part.line(int(part.quotes[::2][-1]), self.lines), "a quote is opened that is not closed")

    def finish(self) -> Layout:
        """The file ends here.

        Raises:
            NotCsvError: it ends in the middle of a value, or has no header.
        """
        if self.tail.count(b'"') % 2:
            self.refuse_unended()
        if self.tail:
            last = Part(self.tail + b"\n")
            self.take(last, np.array([len(self.tail)]))
            self.ends = [0 if self.ends[1] else self.ends[0], self.ends[1]]
        if not self.records:
            raise NotCsvError(1, "there is no header")
        if self.has_breaks and all(self.ends):
            raise NotCsvError(1, "some records end with LF and others with CRLF, and line breaks are in values too")
        return Layout(self.records, self.has_breaks, "\r\n" if self.ends[1] else "\n")


def layout_of(chunks: Iterable[bytes], *, encoding: Encoding, columns: int) -> Layout:
    """The layout of a file that comes in chunks.

    Raises:
        NotCsvError: it cannot be decoded, or is not CSV with so many columns.
    """
    scan = Scan(columns)
    for text in decoded(chunks, encoding):
        if encoding == "ISO-8859-1":
            refuse_controls(text, scan.lines + scan.tail.count(b"\n"))
        scan.feed(text.encode())
    return scan.finish()


def decoded(chunks: Iterable[bytes], encoding: Encoding) -> Iterator[str]:
    """The text of a file, without a byte order mark.

    Raises:
        NotCsvError: it is in another encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines, is_first = 0, True
    for chunk in with_end(chunks):
        if is_first and chunk:
            refuse_mark(chunk, encoding)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode(encoding, "ignore")
            wrong = error.object[error.start : error.end].hex(" ")
            reason = f"the bytes {wrong} are not {encoding}; declare the encoding that the file has"
            raise NotCsvError(lines + good.count("\n") + 1, reason) from error
        if is_first and text:
            text, is_first = text.removeprefix("\ufeff"), False
        lines += text.count("\n")
        yield text


def with_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks that hold something, and an empty one at the end."""
    yield from (chunk for chunk in chunks if chunk)
    yield b""


def refuse_mark(chunk: bytes, encoding: Encoding) -> None:
    """Raise where a file says itself that it is in another encoding, or does not say its byte order where it has to."""
    for mark, allowed, name in MARKS:
        if chunk.startswith(mark):
            if encoding not in allowed:
                raise NotCsvError(1, f"the file starts with the byte order mark of {name}, and {encoding} is declared")
            return
    if encoding in ("UTF-16", "UTF-32"):
        raise NotCsvError(
            1, f"the file has no byte order mark, so its order is not known; declare {encoding}LE or {encoding}BE"
        )


def refuse_controls(text: str, lines: int) -> None:
    """Raise where what is said to be Latin-1 has characters that no text has, and that other encodings have letters for."""
    for at, character in enumerate(text) if any("\x80" <= one <= "\x9f" for one in set(text)) else ():
        if "\x80" <= character <= "\x9f":
            line = lines + text.count("\n", 0, at) + 1
            raise NotCsvError(
                line, f"{ord(character):#x} is no letter in ISO-8859-1; declare windows-1252 if the file is that"
            )
