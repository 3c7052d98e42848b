"""Asks the lineage backend, the embedded one or a Marquez, what made a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from pedigree.lineage.client import marquez_parser
from pedigree.lineage.client.http_client import CONNECT_SECONDS, open_http
from pedigree.lineage.client.marquez_parser import Json
from pedigree.lineage.client.records import (
    DatasetRecord,
    DatasetVersionRef,
    JobRecord,
    LineageGraph,
    RunRecord,
    VersionRecord,
)
from pedigree.lineage.dataset import Assertion
from pedigree.lineage.errors import LineageRefusedError, LineageUnavailableError, LineageUnknownError
from pedigree.lineage.naming import DatasetName, dataset_node, field_node
from pedigree.lineage.settings import LineageSettings

PAGE = 100
SECONDS = 30.0
FAILED = frozenset({"FAILED", "ABORTED"})


class LineageClient:
    """Reads over Marquez's HTTP API.

    Args:
        seconds: how long it may be used; an answer that comes later counts as none.

    Every method raises LineageUnavailableError if the backend does not answer, and LineageUnknownError if it knows
    nothing of the name asked for.
    """

    def __init__(self, settings: LineageSettings, *, seconds: float = inf) -> None:
        self._settings = settings
        self._until = monotonic() + seconds
        self._http = open_http(settings, read_seconds=SECONDS)

    def dataset(self, name: DatasetName) -> DatasetRecord:
        """A dataset as it is now."""
        return marquez_parser.dataset(self._get(dataset_path(name), kind="dataset", name=str(name)))

    def versions(self, name: DatasetName, limit: int = PAGE) -> tuple[VersionRecord, ...]:
        """A dataset's newest versions, the newest first."""
        return tuple(islice(self._versions(name, page=min(limit, PAGE)), limit))

    def current_version(self, name: DatasetName) -> VersionRecord:
        """The version a dataset is at, with the run that wrote it."""
        current = self.dataset(name).current
        if current is None:
            raise LineageUnknownError("version of dataset", str(name))
        path = f"{dataset_path(name)}/versions/{segment(current)}"
        return marquez_parser.version(self._get(path, kind="version", name=f"{name}#{current}"))

    def written_by(self, name: DatasetName, version: str) -> RunRecord:
        """The run that wrote `version` of a table, as the table counts, with what the quality gate found on it.

        A run that has failed is named only if no other wrote that version.
        """
        failed = None
        for each in self._versions(name):
            if each.version != version or each.run_id is None:
                continue
            if each.run_state not in FAILED:
                return replace(self.run(each.run_id), assertions=each.assertions)
            failed = failed or each
        if failed is None or failed.run_id is None:
            raise LineageUnknownError("run that wrote", f"version {version} of {name}")
        return replace(self.run(failed.run_id), assertions=failed.assertions)

    def verdict_on(self, name: DatasetName, version: str) -> tuple[Assertion, ...]:
        """What an audit found on `version` of a table that no recorded run wrote; nothing if none looked at it."""
        try:
            found = [each.assertions for each in self._versions(name) if each.version == version and each.assertions]
        except LineageUnknownError:
            return ()
        return found[0] if found else ()

    def run(self, run_id: str) -> RunRecord:
        """One run, with the versions of what it read and wrote."""
        body = self._get(f"/jobs/runs/{segment(run_id)}", kind="run", name=run_id)
        record = marquez_parser.run(body)
        if marquez_parser.facet(body, marquez_parser.IO):
            return record
        inputs, outputs = (self._refs(body.get(f"{side}DatasetVersions") or []) for side in ("input", "output"))
        return replace(record, inputs=inputs, outputs=outputs)

    def run_facets(self, run_id: str) -> Mapping[str, Mapping[str, Any]]:
        """Every facet of a run, as it was emitted."""
        path = f"/jobs/runs/{segment(run_id)}/facets"
        found: Mapping[str, Mapping[str, Any]] = self._get(path, kind="run", name=run_id, type="run")["facets"]
        return found

    def job(self, name: str, *, namespace: str | None = None) -> JobRecord:
        """A job, of our own namespace unless another is given."""
        where = namespace or self._settings.namespace
        path = f"/namespaces/{segment(where)}/jobs/{segment(name)}"
        return marquez_parser.job(self._get(path, kind="job", name=f"{where}:{name}"))

    def lineage(self, node_id: str, depth: int = 20) -> LineageGraph:
        """The datasets and jobs around a node, through at most `depth` further jobs."""
        return marquez_parser.graph(self._get("/lineage", kind="node", name=node_id, nodeId=node_id, depth=depth))

    def columns(
        self, name: DatasetName, field: str | None = None, *, depth: int = 20, downstream: bool = False
    ) -> LineageGraph:
        """What a dataset's columns, or one of them, are made of; with `downstream` also what is made of them."""
        node = dataset_node(name) if field is None else field_node(name, field)
        asked: dict[str, str | int] = {
            "nodeId": node,
            "depth": depth,
            "withDownstream": "true" if downstream else "false",
        }
        return marquez_parser.column_graph(self._get("/column-lineage", kind="column of", name=node, **asked))

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _versions(self, name: DatasetName, *, page: int = PAGE) -> Iterator[VersionRecord]:
        offset = 0
        while True:
            path = f"{dataset_path(name)}/versions"
            found = self._get(path, kind="dataset", name=str(name), limit=page, offset=offset)["versions"]
            yield from (marquez_parser.version(each) for each in found)
            if len(found) < page:
                return
            offset += page

    def _refs(self, known: list[Json]) -> tuple[DatasetVersionRef, ...]:
        """What a run of somebody else's touched; versions are in the facets of dataset versions, if anywhere."""
        return tuple(self._ref(each["datasetVersionId"]) for each in known)

    def _ref(self, id_: Json) -> DatasetVersionRef:
        name = marquez_parser.dataset_name(id_)
        path = f"{dataset_path(name)}/versions/{segment(str(id_['version']))}"
        try:
            body = self._get(path, kind="version", name=str(name))
        except LineageUnknownError:
            return DatasetVersionRef(name)
        return DatasetVersionRef(name, marquez_parser.external_version(body))

    def _get(self, path: str, *, kind: str, name: str, **query: str | int) -> Any:
        left = self._until - monotonic()
        if left <= 0:
            raise LineageUnavailableError(self._settings.url, "its time is over")
        timeout = httpx.Timeout(min(SECONDS, left), connect=min(CONNECT_SECONDS, left))
        try:
            found = self._http.get(f"/api/v1{path}", params=query, timeout=timeout)
        except httpx.HTTPError as error:
            raise LineageUnavailableError(self._settings.url, f"{type(error).__name__}: {error}") from error
        if found.status_code == 404:
            raise LineageUnknownError(kind, name)
        if found.status_code in {502, 503, 504}:
            raise LineageUnavailableError(self._settings.url, f"status {found.status_code}")
        if not found.is_success:
            raise LineageRefusedError(str(found.url), status=found.status_code, message=found.text[:500])
        try:
            return found.json()
        except ValueError as error:
            message = f"the answer is not JSON: {found.text[:200]!r}"
            raise LineageRefusedError(str(found.url), status=found.status_code, message=message) from error


def dataset_path(name: DatasetName) -> str:
    """Where the API has a dataset."""
    return f"/namespaces/{segment(name.namespace)}/datasets/{segment(name.name)}"


def segment(name: str) -> str:
    """A name as one part of a path; dots alone would be taken for a way through it."""
    return quote(name, safe="").replace(".", "%2E") if name in (".", "..") else quote(name, safe="")
