"""Whether a training set still is what its manifest says, and can be made again. Needs neither Spark nor Feast."""

from __future__ import annotations

from dataclasses import dataclass

from spark_jobs.trainingsets.errors import RowsMissingError
from spark_jobs.trainingsets.fingerprint import Content
from spark_jobs.trainingsets.manifest import Manifest
from spark_jobs.trainingsets.presence import gone
from spark_jobs.trainingsets.shelf import Part, Shelf


@dataclass(frozen=True, slots=True)
class Verified:
    """A set as it is kept, beside what its manifest says.

    Attributes:
        broken: for the entities and the rows, the columns that do not hold what they held.
        lost: what is missing altogether, in words.
        gone: the table versions that cannot be read any more, in words; without them it cannot be computed again.
    """

    manifest: Manifest
    broken: tuple[str, ...]
    lost: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """True where the stored rows and entities are what they were."""
        return not self.broken and not self.lost


def verify(manifest: Manifest, shelf: Shelf) -> Verified:
    """Hash the stored entities and rows and look whether the table versions are there. Needs no Spark."""
    broken, lost = [], []
    expected: dict[Part, Content] = {"entities": manifest.ingredients.entities.content, "rows": manifest.content}
    for part, content in expected.items():
        try:
            found = shelf.content(manifest.id, part)
        except RowsMissingError as error:
            lost.append(str(error))
            continue
        broken += [f"{part}: {column}" for column in found.differing(content)]
    return Verified(manifest, tuple(broken), tuple(lost), gone(manifest.ingredients.sources))
