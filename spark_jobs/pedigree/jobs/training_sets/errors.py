"""What can go wrong with a training set; every message ends with what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from pedigree.jobs.errors import JobError


class EntitySetError(JobError):
    """An entity set that no training set can be made of."""

    def __init__(self, origin: str, what: str, remedy: str) -> None:
        super().__init__(f"{origin} is no entity set: {what}. {remedy} Nothing was written.")


class UnknownServiceError(JobError):
    """A feature service that the registry does not have."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(
            f"The registry has no feature service {name!r}. It has: {', '.join(known) or 'none'}. "
            "Declare a FeatureService of that name and run `feast apply`."
        )


class UnknownTrainingSetError(JobError):
    """No training set that is kept has this id."""

    def __init__(self, asked: str, close: Sequence[str], place: str) -> None:
        self.asked = asked
        near = f" Did you mean {', '.join(close)}?" if close else ""
        super().__init__(
            f"No training set {asked!r} is kept in {place}.{near} `pedigree dataset list` shows all that are."
        )


class AmbiguousIdError(JobError):
    """The beginning of an id that several training sets share."""

    def __init__(self, asked: str, ids: Sequence[str]) -> None:
        super().__init__(
            f"{asked!r} is the beginning of {len(ids)} ids: {', '.join(ids)}. Write one more digit or two."
        )


class AnotherServiceError(JobError):
    """A training set was asked for by the name of a service that it was not made for."""

    def __init__(self, asked: str, *, id_: str, service: str) -> None:
        super().__init__(
            f"The training set {id_} holds the features of {service!r}, not of {asked!r}. Ask for {service}@{id_}, "
            f"or make one: `pedigree dataset create {asked} --entities …`."
        )


class RowsMissingError(JobError):
    """The stored rows of a training set are gone, or not as many as they were."""

    def __init__(self, id_: str, what: str) -> None:
        super().__init__(
            f"The training set {id_} {what}. `pedigree dataset rebuild {id_}` computes its rows again and puts them back."
        )


class VersionGoneError(JobError):
    """A table version that a training set was cut from cannot be read any more."""

    def __init__(self, id_: str, gone: Sequence[str]) -> None:
        self.gone = tuple(gone)
        super().__init__(
            f"The training set {id_} cannot be computed again: {'; '.join(gone)}. Its stored rows are untouched: "
            f"`pedigree dataset verify {id_}` tells whether they are whole. To compute it again, bring the files back from "
            "a backup of the table's folder. Clean tables with `pedigree vacuum`, which leaves alone what a kept set needs."
        )


class VersionLostError(JobError):
    """A table version was removed while a training set was made of it."""

    transient = True

    def __init__(self, name: str, gone: Sequence[str]) -> None:
        self.gone = tuple(gone)
        super().__init__(
            f"The training set {name} was not made: while it was, somebody removed what it read ({'; '.join(gone)}). Nothing of "
            "it was kept. Run the same command again, which takes the newest versions. Clean tables with `pedigree vacuum`, "
            "which leaves alone what a set under way reads."
        )


class VacuumUnsafeError(JobError):
    """What the kept training sets need of a table is not known for certain, so nothing is removed from it."""

    def __init__(self, table: str, what: str) -> None:
        super().__init__(
            f"{table} was not cleaned: {what}. Nothing was removed. Look with `pedigree dataset verify`, and let go what "
            "cannot be computed again with `pedigree dataset delete`."
        )


class ContentBrokenError(JobError):
    """The stored rows of a training set are not what they were."""

    def __init__(self, id_: str, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        super().__init__(
            f"The rows of the training set {id_} are not what they were: {', '.join(columns) or 'their number'} changed. "
            f"`pedigree dataset rebuild {id_}` computes them again and puts them back."
        )
