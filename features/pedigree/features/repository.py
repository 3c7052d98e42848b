"""A feature repository, loaded once into one frozen value that is handed to jobs.

It is a folder with a `feature_store.yaml` and Feast definitions, and beside them `tables.py` (or a package `tables/`): its
tables say how the rows of views are made, and its contracts what must hold of them. Modules import each other as they do
for Feast: by their names within the folder, or, where the folder has an `__init__.py`, by the folder's name.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING

from pedigree.features.errors import RepositoryCodeError, TableDeclarationError, UnknownTableError
from pedigree.features.lake import Lake
from pedigree.features.settings import RepositorySettings, repository_settings
from pedigree.features.table import FeatureTable
from pedigree.online.feature_store_yaml import NAME

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

TABLES = "tables"
"""The module, or package of modules, that tables are declared in."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A feature repository as jobs see it.

    Attributes:
        tables: what `pedigree build` can build, by name.
        contracts: what must hold of the rows of a view, by the view's name: those of tables, and those of views that are only
            pushed or written to.
    """

    settings: RepositorySettings
    tables: Mapping[str, FeatureTable]
    contracts: Mapping[str, ExpectationSuite]

    @property
    def lake(self) -> Lake:
        """Where the Delta tables are."""
        return Lake(self.settings.lake)

    def source(self, file: str) -> str:
        """The URI of a source file: within the landing folder, unless it is a URI itself."""
        return file if ":/" in file else f"{self.settings.landing}/{file}"

    def named(self, names: Sequence[str]) -> list[FeatureTable]:
        """The tables of these names; all, where none is named.

        Raises:
            UnknownTableError: a name is no table's.
        """
        unknown = [name for name in names if name not in self.tables]
        if unknown:
            raise UnknownTableError(unknown[0], tuple(self.tables))
        return [self.tables[name] for name in names or self.tables]


def current_repository() -> Repository:
    """The repository that the settings name, loaded.

    Raises:
        RepositoryMissingError, RepositoryYamlError: there is no `feature_store.yaml` that can be read.
        TableDeclarationError: two tables have one name.
    """
    return load_repository(repository_settings())


def load_repository(settings: RepositorySettings) -> Repository:
    """The repository in the folder of a `feature_store.yaml`. Its modules are imported, as Feast imports its definitions.

    Raises:
        TableDeclarationError: two tables have one name.
        RepositoryCodeError: its code cannot be run.
    """
    root, prefix = importable(settings.folder)
    if not any((settings.folder / place).is_file() for place in (f"{TABLES}.py", f"{TABLES}/__init__.py")):
        return Repository(settings, {}, {})
    forget_others(settings.folder, prefix)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    from great_expectations import (
        ExpectationSuite,  # takes seconds, which a repository without tables need not wait for
    )

    with code_of(settings.folder):
        modules = list(modules_of(importlib.import_module(f"{prefix}{TABLES}")))
    declared = [value for module in modules for value in vars(module).values()]
    tables = by_name(
        {id(value): value for value in declared if isinstance(value, FeatureTable)}.values(), settings.folder
    )
    suites = {value.name: value for value in declared if isinstance(value, ExpectationSuite)}
    return Repository(settings, tables, suites | {name: table.contract for name, table in tables.items()})


@contextmanager
def code_of(folder: Path) -> Iterator[None]:
    """Within the block, an error that the modules of a folder raise is told by the line of theirs that it came from.

    Raises:
        RepositoryCodeError: there was one; our own errors say what is wrong themselves.
    """
    try:
        yield
    except Exception as error:
        is_ours = type(error).__module__.startswith("pedigree.")
        if is_ours or (isinstance(error, ModuleNotFoundError) and not is_raised_in(folder, error)):
            raise  # what says itself what is wrong, or a package that this installation has not
        raise RepositoryCodeError(place_of(error, folder), error) from error


def is_raised_in(folder: Path, error: Exception) -> bool:
    """True where an error was raised by a folder's own code, not by what it calls or imports."""
    return Path(extract_tb(error.__traceback__)[-1].filename).is_relative_to(folder)


def place_of(error: Exception, folder: Path) -> str:
    """The file and line of a folder's code that an error came from last."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno},"
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}," if frames else str(folder)


def importable(folder: Path) -> tuple[Path, str]:
    """What has to be on the path for the folder's modules to be imported, and what their names start with."""
    root, prefix = folder, ""
    while (root / "__init__.py").is_file():
        root, prefix = root.parent, f"{root.name}.{prefix}"
    return root, prefix


def forget_others(folder: Path, prefix: str) -> None:
    """Let go of the modules of other repositories that were imported under the names of this one's."""
    names = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    known = [module for name in names if (module := sys.modules.get(f"{prefix}{name}")) is not None]
    homes = {home(module) for module in known if not within(module, folder)}
    for other in homes:
        if other is not None:
            forget(other)


def home(module: ModuleType) -> Path | None:
    """The folder of the repository that a module belongs to; None where it belongs to none."""
    file = Path(getattr(module, "__file__", None) or "/")
    folder = file.parent.parent if file.name == "__init__.py" else file.parent
    return folder if (folder / NAME).is_file() else None


def forget(folder: Path) -> None:
    """Let go of all modules in a folder, and of the folder as a place to import from."""
    for name in [name for name, module in sys.modules.items() if within(module, folder)]:
        del sys.modules[name]
    sys.path[:] = [place for place in sys.path if Path(place) != folder]


def within(module: ModuleType, folder: Path) -> bool:
    """True for a module whose file is in a folder."""
    file = getattr(module, "__file__", None)
    return bool(file) and Path(str(file)).is_relative_to(folder)


def modules_of(module: ModuleType) -> Iterator[ModuleType]:
    """A module, and where it is a package those in it."""
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield importlib.import_module(f"{module.__name__}.{found.name}")


def by_name(tables: Iterable[FeatureTable], folder: Path) -> dict[str, FeatureTable]:
    """Tables by their names, in the order of these.

    Raises:
        TableDeclarationError: two have one name.
    """
    every = sorted(tables, key=lambda table: table.name)
    names = [table.name for table in every]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TableDeclarationError(folder, [f"{name} is declared more than once" for name in repeated])
    return dict(zip(names, every, strict=True))
