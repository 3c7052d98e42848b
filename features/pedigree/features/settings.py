"""Where a feature repository is and where it keeps its data: one frozen value, read once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pedigree.features.errors import RepositoryMissingError, RepositoryYamlError
from pedigree.online.feature_store_yaml import located, reason_unread


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """What `feature_store.yaml` and the environment say of a repository.

    Attributes:
        feature_store_yaml: the absolute path of the file.
        project: Feast's project.
        lake: the URI of the Delta tables, without a slash at its end.
        landing: the URI of the folder with the source files, without a slash at its end.
    """

    feature_store_yaml: Path
    project: str
    lake: str
    landing: str

    @property
    def folder(self) -> Path:
        """The repository's folder."""
        return self.feature_store_yaml.parent


@cache
def repository_settings() -> RepositorySettings:
    """The repository that `PEDIGREE_FEATURE_STORE_YAML` names, or the one of the working directory.

    `PEDIGREE_LAKE` and `PEDIGREE_LANDING` win over `lake` and `landing` of the file's `offline_store`, and these over folders
    named so in `.pedigree` of the working directory.

    Raises:
        RepositoryMissingError, RepositoryYamlError: there is no such file, or it cannot be read.
    """
    return settings_of(located())


def settings_of(path: Path) -> RepositorySettings:
    """What one `feature_store.yaml` says.

    Raises:
        RepositoryMissingError, RepositoryYamlError: there is no such file, or it cannot be read.
    """
    content = read_yaml(path)
    offline = content.get("offline_store")
    offline = offline if isinstance(offline, dict) else {}
    folder = path.absolute().parent
    places = {
        name: os.environ.get(f"PEDIGREE_{name.upper()}")
        or (uri(str(offline[name]), folder) if offline.get(name) else Path(".pedigree", name).absolute().as_uri())
        for name in ("lake", "landing")
    }
    return RepositorySettings(
        path.absolute(), str(content["project"]), places["lake"].rstrip("/"), places["landing"].rstrip("/")
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a `feature_store.yaml`, with variables of the environment put in.

    Raises:
        RepositoryMissingError, RepositoryYamlError: there is no such file, or it cannot be read.
    """
    try:
        content = yaml.safe_load(os.path.expandvars(path.read_text()))
    except FileNotFoundError as error:
        raise RepositoryMissingError(path) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RepositoryYamlError(path, reason_unread(error)) from None  # its traceback would repeat the line
    if not isinstance(content, dict) or not content.get("project"):
        raise RepositoryYamlError(path, "it has no `project: <name>`")
    return content


def uri(place: str, folder: Path) -> str:
    """A place as a URI; a path is relative to the repository's folder."""
    return place if "://" in place or place.startswith("file:") else (folder / place).resolve().as_uri()
