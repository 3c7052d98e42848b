"""Where the Delta tables of a repository are. It needs no Feast, so that whoever loads a training set does not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from pedigree.features.settings import repository_settings


@dataclass(frozen=True, slots=True)
class Lake:
    """The place of the Delta tables, as a URI that Spark can read (`file:`, `s3a:`, …), without a slash at its end."""

    uri: str

    def table(self, name: str) -> str:
        """The URI of one feature table."""
        return f"{self.uri}/{name}"

    def tiles(self, name: str) -> str:
        """The URI of the table that keeps the tiles of one feature table's windows."""
        return f"{self.uri}/tiles/{name}"

    def quarantine(self, name: str) -> str:
        """The URI of the table that keeps the rejected rows of one feature table."""
        return f"{self.uri}/quarantine/{name}"

    def audits(self, name: str) -> str:
        """The URI of the table that keeps the verdicts on one table that somebody else writes."""
        return f"{self.uri}/audits/{name}"

    @property
    def datasets(self) -> str:
        """The URI of the folder that keeps the training sets."""
        return f"{self.uri}/datasets"


def current_lake() -> Lake:
    """The lake of the repository that the settings name."""
    return Lake(repository_settings().lake)
