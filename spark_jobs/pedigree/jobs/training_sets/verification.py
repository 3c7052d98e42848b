"""Whether a training set still is what its manifest says, and can be made again. Needs neither Spark nor Feast."""

from __future__ import annotations

from dataclasses import dataclass

from pedigree.jobs.training_sets.errors import RowsMissingError
from pedigree.jobs.training_sets.fingerprint import Content
from pedigree.jobs.training_sets.manifest import Manifest
from pedigree.jobs.training_sets.store import Part, TrainingSetStore
from pedigree.jobs.training_sets.table_versions import gone


@dataclass(frozen=True, slots=True)
class VerificationResult:
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


def verify(manifest: Manifest, set_store: TrainingSetStore) -> VerificationResult:
    """Hash the stored entities and rows and look whether the table versions are there. Needs no Spark."""
    broken, lost = [], []
    expected: dict[Part, Content] = {"entities": manifest.ingredients.entities.content, "rows": manifest.content}
    for part, content in expected.items():
        try:
            found = set_store.content(manifest.id, part)
        except RowsMissingError as error:
            lost.append(str(error))
            continue
        broken += [f"{part}: {column}" for column in found.differing(content)]
    return VerificationResult(manifest, tuple(broken), tuple(lost), gone(manifest.ingredients.sources))
