"""What the server needs of `feature_store.yaml`: the project, and where its online store is. Feast is not asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pedigree.online.errors import AddressError
from pedigree.online.store.address import Address, parse
from pedigree.serving.errors import ServingSettingsError

STORE = "pedigree.online.feast_plugin.PedigreeOnlineStore"


@dataclass(frozen=True, slots=True)
class FeatureStoreYaml:
    """A Feast repository, as the server sees it."""

    path: Path
    project: str
    address: Address


def reason_of(error: Exception) -> str:
    """What is wrong with a file; of its lines nothing is repeated, as there may be a password in them."""
    if isinstance(error, yaml.MarkedYAMLError):
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        return f"{error.problem or 'it is no YAML'}{where}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"there is no {error}" if isinstance(error, KeyError) else "it is no YAML with names and values"


def read_repo(path: Path) -> FeatureStoreYaml:
    """The repository that `path` describes.

    Raises:
        SettingsError: it cannot be served from.
    """
    try:
        named: dict[str, Any] = yaml.safe_load(os.path.expandvars(path.read_text()))
        project, store = named["project"], named["online_store"]
        kind = store["type"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        reason = reason_of(error)
        raise ServingSettingsError(
            [f"{path} is no feature_store.yaml with a project and an online_store: {reason}"]
        ) from None
    if kind != STORE:
        raise ServingSettingsError([f"the online_store of {path} is {kind}; this server reads `type: {STORE}`"])
    try:
        address = parse(
            store.get("connection_string", "localhost:6379"),
            kind=store.get("redis_type", "redis"),
            master=store.get("sentinel_master", "mymaster"),
        )
    except AddressError as error:
        raise ServingSettingsError([str(error)]) from error
    return FeatureStoreYaml(path, str(project), address)
