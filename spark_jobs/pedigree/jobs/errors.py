"""What can go wrong in a job. Terminal: trying again changes nothing. Transient: the same command may work later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class JobError(Exception):
    """Root of every error of `spark_jobs`; `transient` decides whether a scheduler should try again."""

    transient = False


class JobSettingsError(JobError):
    """The settings cannot be used; the message names each wrong one."""


class JavaMissingError(JobError):
    """Spark has no Java to run on."""

    def __init__(self, found: str, oldest: int) -> None:
        super().__init__(
            f"Spark needs Java {oldest} or newer, and {found}. Install one (Debian: `apt install openjdk-17-jre-headless`), "
            "or set JAVA_HOME to where one is."
        )


class JarsMissingError(JobError):
    """The jars that Spark needs could not be fetched."""

    transient = True

    def __init__(self, packages: Sequence[str], *, said: str) -> None:
        super().__init__(
            f"The jars {', '.join(packages)} could not be fetched. Check the way to Maven Central and run `make setup` again. "
            f"The resolver said:\n{said}"
        )


class SourceMissingError(JobError):
    """A source is not where it should be (yet)."""

    transient = True

    def __init__(self, source: str, path: str) -> None:
        self.source = source
        self.path = path
        super().__init__(
            f"The source {source!r} is not at {path}. Nothing was changed. "
            "Put it there, or set PEDIGREE_LANDING to the folder that has it, and run the command again."
        )


class SourceBrokenError(JobError):
    """A source does not hold what its schema says."""

    def __init__(self, path: str, *, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} cannot be read: {reason} Nothing was changed. Have it delivered again, or change the schema of its `Source`."
        )


class VariableMissingError(JobError):
    """A declaration names environment variables that are not set."""

    def __init__(self, source: str, names: Sequence[str]) -> None:
        super().__init__(
            f"The source {source!r} needs {', '.join(names)} in the environment. Set it and run the command again. "
            "Nothing was changed."
        )


class SourceChangedError(JobError):
    """A source was replaced while it was read."""

    transient = True

    def __init__(self, source: str, path: str) -> None:
        self.source = source
        self.path = path
        super().__init__(
            f"The source {source!r} at {path} was written to while it was read. Nothing was published, since some rows would be "
            "of the old file and some of the new one. Run the same command again."
        )


class ChangesUntoldError(JobError):
    """A table's change data feed cannot be read for the versions that are needed."""

    def __init__(self, uri: str, *, since: int, reason: str) -> None:
        first = reason.strip().partition("\n")[0]
        super().__init__(f"the changes of {uri} from version {since} on cannot be read ({first})")


class UnsupportedSourceError(JobError):
    """A view is declared in a way that cannot be read or materialized with its provenance."""

    def __init__(self, view: str, what: str, remedy: str) -> None:
        super().__init__(f"{view} cannot be used: {what}. {remedy} Nothing was written.")


class EntityFrameError(JobError):
    """An entity frame cannot be answered as it stands."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"The entity frame will not do: {what}. {remedy}")

    @classmethod
    def of_another_kind(cls, key: str, *, found: str, wanted: str) -> EntityFrameError:
        """A key that can be compared with no row's."""
        return cls(f"its key {key} is {found} where the feature view has {wanted}", f"Convert it to {wanted}.")


class EngineUnfitError(JobError):
    """The engine that `feature_store.yaml` insists on cannot do what is asked."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"{engine} cannot answer this: {reason}. Set offline_store.engine to auto.")


class LogDestinationError(JobError):
    """Served vectors were to be logged where this offline store does not write."""

    def __init__(self, destination: str) -> None:
        super().__init__(
            f"The logs of this feature service go to a {destination}, and nothing was written. "
            "Declare LoggingConfig(DeltaLoggingDestination(path=…)), and apply it."
        )


class SchemaBrokenError(JobError):
    """A transform does not yield what its feature view promises."""

    def __init__(self, table: str, problems: Sequence[str]) -> None:
        self.table = table
        self.problems = tuple(problems)
        super().__init__(
            f"{table} does not keep its view's schema: {'; '.join(self.problems)}. Nothing was published. "
            "Change the view's schema or the table's transform so that they agree."
        )


class ContractError(JobError):
    """A contract states a rule in a way that cannot be checked."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. {remedy}")


class TransformError(JobError):
    """A transform's query cannot be run."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The query in {path} cannot be run: {reason}. Nothing was changed.")


class ExternalTableMissingError(JobError):
    """Somebody else's table is not where it was declared."""

    transient = True

    def __init__(self, table: str, uri: str) -> None:
        self.table, self.uri = table, uri
        super().__init__(
            f"There is no Delta table at {uri}, where {table} is declared to be. Nothing was changed. Wait for its owner to "
            "write it, or set the path of the view's source to where it is."
        )


class VersionRefusedError(JobError):
    """A version of somebody else's table breaks its contract."""

    def __init__(
        self, table: str, uri: str, *, version: int, broken: Sequence[str], stays: int | None, quarantine: str
    ) -> None:
        self.table, self.version, self.quarantine = table, version, quarantine
        served = "no version of it may be loaded" if stays is None else f"version {stays} is the one that may be loaded"
        super().__init__(
            f"Version {version} of {uri} breaks the contract of {table}: {'; '.join(broken)}. It is not loaded, and {served}. "
            f"The rows that break rules are kept in {quarantine} with the rules' names. When the table's owner has mended it: "
            f"`pedigree build {table}`."
        )


class UnbuiltTableError(JobError):
    """A table is needed that nothing was published to yet."""

    transient = True

    def __init__(self, table: str, uri: str) -> None:
        self.table = table
        self.uri = uri
        name = uri.rstrip("/").rsplit("/", 1)[-1]
        super().__init__(
            f"There is no Delta table at {uri}. Build it first: `pedigree build {name} --start <day> --end <day>`."
        )


class UnauditedTableError(JobError):
    """A table is there, and none of its versions passed the gate."""

    def __init__(self, table: str, uri: str, *, commits: int, former: Sequence[int]) -> None:
        self.table = table
        self.uri = uri
        self.former = tuple(former)
        why = f"None of the {commits} commits of the Delta table at {uri} carries the mark of a gate that it passed"
        if former:
            why += f"; {len(former)} of them (the newest is version {max(former)}) name a run as the release before did"
        super().__init__(
            f"{why}. Nothing was loaded, and what is served is served on. Build its newest slice again, which replaces itself: "
            f"`pedigree build {table} --start … --end …`. Rows that are written through Feast need a contract of the view in "
            "tables.py."
        )


class TableUnwritableError(JobError):
    """A write to a table failed, for instance on a full disk."""

    transient = True

    def __init__(self, table: str, *, cause: str) -> None:
        self.table = table
        super().__init__(
            f"{table} could not be written to: {cause}. No commit was made, so it is as it was before. Mend that (space, rights, "
            "network) and run the same command again: it replaces what it wrote beside the table."
        )


class TableContendedError(JobError):
    """Others write to a table again and again while somebody wants to."""

    transient = True

    def __init__(self, table: str, *, attempts: int) -> None:
        self.table = table
        super().__init__(
            f"{table} was written to by others each of the {attempts} times that this was to be committed. It has what they "
            "wrote, and nothing of this. Run the same command again."
        )


class RowsUnaccountedError(JobError):
    """Rows went missing or appeared between two steps: a fault of the program, never of the data."""

    def __init__(self, table: str, step: str, *, expected: int, found: int) -> None:
        self.table = table
        self.step = step
        self.expected = expected
        self.found = found
        super().__init__(
            f"{table}: {step} have {found:,} rows where {expected:,} are accounted for. "
            f"Look for a join that repeats or drops rows in spark_jobs/tables/{table}.py."
        )


class QualityGateFailedError(JobError):
    """Too much of a slice is broken; the table stays at the version it had."""

    def __init__(self, table: str, *, broken: Sequence[str], rows: int, version: int | None, quarantine: str) -> None:
        self.table = table
        self.broken = tuple(broken)
        self.rows = rows
        self.version = version
        self.quarantine = quarantine
        state = "does not exist yet" if version is None else f"stays at version {version}"
        super().__init__(
            f"The gate stopped this slice of {table}: {'; '.join(self.broken)}. The table {state}; "
            f"all {rows:,} rows of the slice are kept in {quarantine} with the names of the rules they broke. "
            "Look at them, mend the source or the rule, and build the slice again."
        )


class NothingToRollBackError(JobError):
    """A view cannot be brought back to an earlier version."""

    def __init__(self, view: str, reason: str) -> None:
        super().__init__(
            f"{view} cannot be rolled back: {reason}. The online store is as it was. `pedigree rollback {view} --to …` names a "
            f"version, `pedigree rebuild {view}` loads anew what may be served."
        )


class WithheldError(JobError):
    """The newest version of a table was rolled back, and nothing newer is there."""

    def __init__(self, view: str, *, version: int, served: int | None) -> None:
        self.view = view
        self.version = version
        super().__init__(
            f"Version {version} of {view} was rolled back and is not loaded again; version {served} is served. Publish a newer "
            f"version (`pedigree build {view} …`), or take it after all: `pedigree rebuild {view} --include-withheld`."
        )


class LoadOvertakenError(JobError):
    """While a load ran, somebody else changed what is loaded of the view."""

    transient = True

    def __init__(self, view: str, *, number: int, now: str) -> None:
        self.view = view
        self.number = number
        super().__init__(
            f"Load {number} of {view} was overtaken: while it ran, the view was loaded, rolled back or removed by somebody else "
            f"({now}). That stands; nothing of this load is served. Run it again if it is still wanted."
        )
