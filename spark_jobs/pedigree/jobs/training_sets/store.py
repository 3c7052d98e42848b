"""Where training sets are kept: a folder for each, with its entities, its rows and, written last, its manifest.

What sets under way read is pinned beside them. Local folders and S3; reading needs neither Spark nor Feast.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pedigree.jobs.training_sets.errors import AmbiguousIdError, RowsMissingError, UnknownTrainingSetError
from pedigree.jobs.training_sets.fingerprint import Content, Fingerprint
from pedigree.jobs.training_sets.manifest import Manifest, Pin

Part = Literal["entities", "rows"]
BATCH = 65_536
"""Rows at a time."""

PINS = "_pins"
"""The folder with the pins of sets under way."""


@dataclass(frozen=True)
class TrainingSetStore:
    """All training sets below the folder `uri`."""

    uri: str

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        return file_system(self.uri)

    def manifests(self) -> list[Manifest]:
        """Every set that is kept, the newest first; one that is being written is not kept yet."""
        files, root = self._place
        found = files.get_file_info(fs.FileSelector(root, allow_not_found=True))
        ids = [each.base_name for each in found if each.type is fs.FileType.Directory]
        kept = [self._manifest(id_) for id_ in ids if self.keeps(id_)]
        return sorted(kept, key=lambda manifest: (manifest.created_at, manifest.id), reverse=True)

    def keeps(self, id_: str) -> bool:
        """True for the whole id of a set that is kept."""
        files, _ = self._place
        kept: bool = files.get_file_info(self._path(id_, "manifest.json")).type is fs.FileType.File
        return kept

    def find(self, asked: str) -> Manifest:
        """The set with this id, or with the only id that begins like this.

        Raises:
            UnknownTrainingSetError, AmbiguousIdError: none or several are.
        """
        if self.keeps(asked):
            return self._manifest(asked)
        kept = self.manifests()
        found = [manifest for manifest in kept if asked and manifest.id.startswith(asked.lower())]
        if len(found) > 1:
            raise AmbiguousIdError(asked, [manifest.short_id for manifest in found])
        if not found:
            raise UnknownTrainingSetError(asked, close_to(asked, kept), self.uri)
        return found[0]

    def write(self, id_: str, part: Part, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Content:
        """Write the entities or the rows of a set that is not kept yet; returns what they hold."""
        files, _ = self._place
        files.create_dir(self._path(id_, part), recursive=True)
        with self._replacing(self._path(id_, part, "part-0.parquet")) as file:
            return write_parquet(file, schema, batches)

    def keep(self, manifest: Manifest) -> None:
        """Write the manifest; from here on the set is kept."""
        with self._replacing(self._path(manifest.id, "manifest.json")) as file:
            file.write(manifest.to_json().encode())

    def discard(self, id_: str) -> None:
        """Remove what was written of a set that is not kept."""
        files, _ = self._place
        if not self.keeps(id_) and files.get_file_info(self._path(id_)).type is fs.FileType.Directory:
            files.delete_dir(self._path(id_))

    def drop(self, id_: str) -> None:
        """Remove a set: first the manifest, so that no half of it is ever kept."""
        files, _ = self._place
        files.delete_file(self._path(id_, "manifest.json"))
        files.delete_dir(self._path(id_))

    def holders(self) -> list[Manifest | Pin]:
        """All that needs table versions. Pins come first: who takes one away has kept its set before."""
        return [*self.pins(), *self.manifests()]

    def pin(self, pin: Pin) -> None:
        """Say what a set under way reads, in place of what its run said before."""
        files, _ = self._place
        files.create_dir(self._path(PINS), recursive=True)
        with self._replacing(self._path(PINS, f"{pin.run_id}.json")) as file:
            file.write(pin.to_json().encode())

    def unpin(self, run_id: str) -> None:
        """Let go what a run pinned, where it did."""
        files, _ = self._place
        with suppress(FileNotFoundError):
            files.delete_file(self._path(PINS, f"{run_id}.json"))

    def pins(self) -> list[Pin]:
        """What sets under way read."""
        files, _ = self._place
        listed = files.get_file_info(fs.FileSelector(self._path(PINS), allow_not_found=True))
        found = []
        for each in listed:
            if each.extension == "json":
                with suppress(FileNotFoundError), files.open_input_stream(each.path) as file:  # it was just let go
                    found.append(Pin.from_json(file.read()))
        return found

    @contextmanager
    def open(self, id_: str, part: Part) -> Iterator[pq.ParquetFile]:
        """The entities or the rows as a Parquet file.

        Raises:
            RowsMissingError: the file is gone, or is no Parquet file.
        """
        files, path = self.file(id_, part)
        try:
            with pq.ParquetFile(path, filesystem=files) as file:
                yield file
        except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
            raise RowsMissingError(id_, f"has lost its {part} ({error})") from error

    def file(self, id_: str, part: Part) -> tuple[fs.FileSystem, str]:
        """Where the Parquet file with the entities or the rows is."""
        return self._place[0], self._path(id_, part, "part-0.parquet")

    def batches(
        self, id_: str, part: Part, *, size: int = BATCH, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The entities or the rows in their order, `size` at a time, never more of them in memory than that."""
        with self.open(id_, part) as file:
            yield from file.iter_batches(batch_size=size, columns=columns)

    def schema(self, id_: str, part: Part) -> pa.Schema:
        """The columns of the entities or the rows."""
        with self.open(id_, part) as file:
            return file.schema_arrow

    def table(self, id_: str, part: Part, columns: list[str] | None = None) -> pa.Table:
        """All entities or rows at once."""
        with self.open(id_, part) as file:
            return file.read(columns=columns)

    def content(self, id_: str, part: Part) -> Content:
        """What the stored entities or rows hold now."""
        fingerprint = Fingerprint(self.schema(id_, part))
        for batch in self.batches(id_, part):
            fingerprint.update(batch)
        return fingerprint.content()

    def location(self, id_: str) -> str:
        """The URI of a set's folder."""
        return f"{self.uri}/{id_}"

    @contextmanager
    def _replacing(self, path: str) -> Iterator[pa.NativeFile]:
        """A file that takes the place of the one at `path` when the block ends well. An object store does so by itself."""
        files, _ = self._place
        is_local = isinstance(files, fs.LocalFileSystem)
        beside = f"{path}.{uuid4()}.new" if is_local else path
        try:
            with files.open_output_stream(beside) as file:
                yield file
        except BaseException:
            if is_local:
                files.delete_file(beside)
            raise
        if is_local:
            files.move(beside, path)

    def _manifest(self, id_: str) -> Manifest:
        files, _ = self._place
        with files.open_input_stream(self._path(id_, "manifest.json")) as file:
            return Manifest.from_json(file.read())

    def _path(self, id_: str, *below: str) -> str:
        return "/".join((self._place[1], id_, *below))


def write_parquet(where: object, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Content:
    """Write batches one after the other; returns what they hold."""
    fingerprint = Fingerprint(schema)
    with pq.ParquetWriter(where, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=BATCH)
            fingerprint.update(batch)
    return fingerprint.content()


def file_system(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI and the path on it. A local path is taken literally, percent signs too, as Spark does."""
    if uri.startswith(("/", "file:")):
        path = uri.removeprefix("file:")
        return fs.LocalFileSystem(), "/" + path.lstrip("/")
    found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return found


def close_to(asked: str, kept: list[Manifest]) -> list[str]:
    """Sets that may have been meant: by id, or by name or service."""
    named = [each for each in kept if asked in (each.name, each.ingredients.definitions.service)][:3]
    near = difflib.get_close_matches(asked.lower()[:12], [each.short_id for each in kept], n=3, cutoff=0.6)
    return [f"{each.ingredients.definitions.service}@{each.short_id}" for each in named] or near
