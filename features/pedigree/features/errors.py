"""What can be wrong with a feature repository. Every message ends with what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class RepositoryError(Exception):
    """The feature repository cannot be used as it is. Terminal: trying again changes nothing."""


class RepositoryMissingError(RepositoryError):
    """There is no `feature_store.yaml` where one was expected."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"There is no {path}. Run the command within a feature repository (a folder with a feature_store.yaml), "
            "or set PEDIGREE_FEATURE_STORE_YAML to the file."
        )


class RepositoryYamlError(RepositoryError):
    """`feature_store.yaml` is no YAML, or lacks something."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} cannot be read: {problem}. Mend the file; nothing was started.")


class RepositoryCodeError(RepositoryError):
    """A module of the repository cannot be imported."""

    def __init__(self, place: str, error: Exception) -> None:
        said = " ".join(str(error).split())
        super().__init__(f"{place} cannot be run: {type(error).__name__}: {said}. Mend it; nothing was started.")


class TableDeclarationError(RepositoryError):
    """Tables are declared in a way that cannot be built."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(f"The tables of {path} cannot be built: {'; '.join(problems)}. Nothing was started.")


class SourceDeclarationError(RepositoryError):
    """A source is declared in a way that cannot be read."""

    def __init__(self, source: str, what: str, remedy: str) -> None:
        super().__init__(f"The source {source!r} {what}. {remedy} Nothing was started.")


class EventColumnsError(RepositoryError):
    """Windows or keys are of columns that the events of their table do not have."""

    def __init__(self, table: str, missing: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(
            f"The windows of {table} need {', '.join(missing)}, and its events have {', '.join(known) or 'no columns'}. "
            "Nothing was published. Change the windows, or the schema of the source and the `columns` of the events."
        )


class UnknownTableError(RepositoryError):
    """A table was named that the repository does not declare."""

    def __init__(self, table: str, known: Sequence[str]) -> None:
        self.table = table
        names = ", ".join(known) or "none; declare them in tables.py beside feature_store.yaml"
        super().__init__(f"There is no table {table!r}. Known tables: {names}.")
