"""What the server needs of `feature_store.yaml`: the project, and where its online store is. Feast is not asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pedigree.online.errors import AddressError
from pedigree.online.feature_store_yaml import reason_unread
from pedigree.online.store.address import Address, parse
from pedigree.serving.errors import OtherStoreError, ServingSettingsError

STORE = "pedigree.online.feast_plugin.PedigreeOnlineStore"


@dataclass(frozen=True, slots=True)
class FeatureStoreYaml:
    """A Feast repository, as the server sees it."""

    path: Path
    project: str
    address: Address


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
        reason = reason_unread(error)
        raise ServingSettingsError([f"{path} cannot be read: {reason}"]) from None
    if kind != STORE:
        raise OtherStoreError([f"the online_store of {path} is {kind}; this server reads `type: {STORE}`"])
    try:
        address = parse(
            store.get("connection_string", "localhost:6379"),
            kind=store.get("redis_type", "redis"),
            master=store.get("sentinel_master", "mymaster"),
        )
    except AddressError as error:
        raise ServingSettingsError([str(error)]) from error
    return FeatureStoreYaml(path, str(project), address)
