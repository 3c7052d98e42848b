"""The files of a source: which there are, in which state, and what is in them, on every file system that Spark reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pedigree.features.sources import Encoding
from pedigree.jobs.errors import SourceBrokenError
from pedigree.jobs.sources.rfc4180 import Layout, NotCsvError, layout_of

LOCAL = "file://"
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file in one state: when it was written (ms), and its size in bytes."""

    uri: str
    written_ms: int
    size: int


def files_at(spark: SparkSession, uri: str) -> tuple[SourceFile, ...]:
    """The files at a URI, which names one or a folder; none where there is nothing, or only what Spark takes for hidden."""
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)
    system = path.getFileSystem(spark._jsc.hadoopConfiguration())
    files: list[SourceFile] = []
    for status in system.globStatus(path) or ():
        found = system.listFiles(status.getPath(), True)
        while found.hasNext():
            file = found.next()
            if not file.getPath().getName().startswith(("_", ".")):
                place = str(file.getPath()).replace("file:/", "file:///", 1)
                files.append(SourceFile(place, int(file.getModificationTime()), int(file.getLen())))
    return tuple(sorted(files, key=lambda file: file.uri))


def version_of(files: tuple[SourceFile, ...]) -> str:
    """What tells one state of files from another on every file system."""
    return f"{max(file.written_ms for file in files)}-{sum(file.size for file in files)}"


@lru_cache(maxsize=1024)
def layout_at(spark: SparkSession, file: SourceFile, encoding: Encoding, columns: int) -> Layout:
    """The layout of a CSV file in one state, looked through once.

    Raises:
        SourceBrokenError: it is in another encoding, or is not CSV with so many columns.
    """
    try:
        return layout_of(chunks_of(spark, file.uri), encoding=encoding, columns=columns)
    except NotCsvError as error:
        raise SourceBrokenError(file.uri, reason=str(error)) from error


def chunks_of(spark: SparkSession, uri: str) -> Iterator[bytes]:
    """What a file holds, decompressed as Spark would."""
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)
    conf = spark._jsc.hadoopConfiguration()
    codec = spark._jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
    if codec is None and uri.startswith(LOCAL):
        with Path(uri.removeprefix(LOCAL)).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
        return
    stream: Any = path.getFileSystem(conf).open(path)
    try:
        stream = codec.createInputStream(stream) if codec is not None else stream
        while chunk := bytes(stream.readNBytes(CHUNK)):
            yield chunk
    finally:
        stream.close()
