"""Which version a table is at, and whether one that was read can still be. Reads the Delta log; needs no Spark."""

from __future__ import annotations

from collections.abc import Iterable

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow import fs

from pedigree.jobs.errors import UnbuiltTableError
from pedigree.jobs.training_sets.manifest import TableVersion
from pedigree.jobs.training_sets.store import file_system


def newest(uri: str) -> TableVersion:
    """The newest version of a table.

    Raises:
        UnbuiltTableError: there is no table.
    """
    try:
        table = DeltaTable(delta_place(uri))
    except TableNotFoundError as error:
        raise UnbuiltTableError(uri.rsplit("/", 1)[-1], uri) from error
    return TableVersion(uri, table.version(), str(table.metadata().id))


def gone(sources: Iterable[TableVersion]) -> tuple[str, ...]:
    """For each version that cannot be read any more, what is missing, in one sentence."""
    found = ((source, loss(source)) for source in sources)
    return tuple(f"{source.uri} version {source.version}: {what}" for source, what in found if what)


def loss(source: TableVersion) -> str | None:
    """What of a version is missing; None where it is whole."""
    place = delta_place(source.uri)
    try:
        newest = DeltaTable(place)
        if str(newest.metadata().id) != source.table_id:
            return f"another table (id {newest.metadata().id}) has been put in its place"
        files = DeltaTable(place, version=source.version).file_uris()
    except DeltaError as error:
        return f"its log is gone ({str(error).strip()})"
    absent = [file for file in files if not is_there(file)]
    return f"{len(absent)} of {len(files)} files are gone, such as {absent[0]}" if absent else None


def is_there(uri: str) -> bool:
    """True where a file is."""
    files, path = file_system(uri)
    there: bool = files.get_file_info(path).type is fs.FileType.File
    return there


def delta_place(uri: str) -> str:
    """A table's place as delta-rs takes it: a literal path, or an `s3:` URI."""
    if uri.startswith(("/", "file:")):
        return file_system(uri)[1]
    return uri.replace("s3a://", "s3://", 1)
