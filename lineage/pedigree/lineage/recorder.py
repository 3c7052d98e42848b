"""What jobs use to say what they do: one context manager per run. Recording never stops or delays a job."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Any, Self, cast

from openlineage.client import event_v2 as event
from openlineage.client import facet_v2 as ol
from openlineage.client.serde import Serde
from openlineage.client.uuid import generate_new_uuid

from pedigree.lineage import strict_json
from pedigree.lineage.dataset import Dataset
from pedigree.lineage.delivery.delivery import DeliveryThread
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.facets import PRODUCER, custom, engine, input_dataset, output_dataset, versions
from pedigree.lineage.naming import DatasetName, job_name
from pedigree.lineage.redaction import redacted
from pedigree.lineage.settings import LineageSettings

JSON = str | int | float | bool | None | datetime | Mapping[str, Any] | list[Any] | tuple[Any, ...]
CLOSING_SECONDS = 5.0
MOST_CHARACTERS = 64 * 1024

log = logging.getLogger(__name__)


class Run:
    """One run of a job: what it has read, written and noted. A later word about a dataset replaces the former."""

    def __init__(self, verb: str, subject: str, *, nominal: tuple[datetime, datetime] | None, description: str) -> None:
        self.started_at = datetime.now(UTC)
        self.id = str(generate_new_uuid(self.started_at))
        self.job = job_name(verb, subject)
        self._kind = verb.upper()
        self._nominal = nominal
        self._description = description
        self._inputs: dict[DatasetName, Dataset] = {}
        self._outputs: dict[DatasetName, Dataset] = {}
        self._notes: dict[str, Any] = {}
        self._lock = Lock()

    def reads(self, dataset: Dataset) -> None:
        """This run reads `dataset`."""
        with self._lock:
            self._inputs[dataset.name] = dataset

    def writes(self, dataset: Dataset) -> None:
        """This run writes `dataset`."""
        with self._lock:
            self._outputs[dataset.name] = dataset

    def note(self, facet: str, values: Mapping[str, JSON]) -> None:
        """Values about the run that no standard facet holds; readers find them as `pedigree_<facet>`, without nulls."""
        with self._lock:
            self._notes[f"pedigree_{facet}"] = custom(facet, strict_json.plain(values))

    def event(self, kind: event.RunState, *, namespace: str, error: BaseException | None = None) -> event.RunEvent:
        """What has been said so far, as an OpenLineage event of now."""
        with self._lock:
            inputs, outputs, notes = list(self._inputs.values()), list(self._outputs.values()), dict(self._notes)
        at = self.started_at if kind is event.RunState.START else datetime.now(UTC)
        notes["pedigree_io"] = custom("io", {"inputs": versions(inputs), "outputs": versions(outputs)})
        facets = {**self._run_facets(), **notes, **({} if error is None else {"errorMessage": cause(error)})}
        return event.RunEvent(
            eventTime=at.isoformat(timespec="microseconds"),
            producer=PRODUCER,
            eventType=kind,
            run=event.Run(self.id, cast(Any, facets)),
            job=event.Job(namespace, self.job, cast(Any, self._job_facets())),
            inputs=[input_dataset(each) for each in inputs],
            outputs=[output_dataset(each) for each in outputs],
        )

    def _run_facets(self) -> dict[str, ol.RunFacet]:
        facets: dict[str, ol.RunFacet] = {"processing_engine": engine()}
        if self._nominal is not None:
            start, end = (instant.isoformat() for instant in self._nominal)
            facets["nominalTime"] = ol.nominal_time_run.NominalTimeRunFacet(start, end, producer=PRODUCER)
        return facets

    def _job_facets(self) -> dict[str, ol.JobFacet]:
        of_type = ol.job_type_job.JobTypeJobFacet
        facets: dict[str, ol.JobFacet] = {
            "jobType": of_type("BATCH", integration="PEDIGREE", jobType=self._kind, producer=PRODUCER)
        }
        if self._description:
            facets["documentation"] = ol.documentation_job.DocumentationJobFacet(self._description, producer=PRODUCER)
        return facets


class Recorder:
    """Records runs into the outbox, from where a background thread delivers them."""

    def __init__(self, settings: LineageSettings, *, outbox: Outbox, deliverer: DeliveryThread) -> None:
        self._namespace = settings.namespace
        self._outbox = outbox
        self._deliverer = deliverer

    @classmethod
    def open(cls, settings: LineageSettings) -> Recorder:
        """Start recording.

        Raises:
            OutboxUnwritableError: events could not be kept. Only here: once open, lineage stops no job.
        """
        outbox = Outbox.open(settings)
        return cls(settings, outbox=outbox, deliverer=DeliveryThread.start(outbox))

    @contextmanager
    def run(
        self,
        verb: str,
        subject: str,
        *,
        nominal: tuple[datetime, datetime] | None = None,
        description: str = "",
    ) -> Iterator[Run]:
        """A run of `<verb>.<subject>`: START now, COMPLETE on a clean exit, FAIL or ABORT with the cause otherwise.

        Args:
            verb: what the job does to `subject`.
            subject: the table or view it is done to.
            nominal: the slice of time the run is for.
            description: what the job does.
        """
        run = Run(verb, subject, nominal=nominal, description=description)
        try:
            self._emit(run, event.RunState.START)  # a signal may arrive as soon as the event is written
            yield run
        except BaseException as error:
            aborted = isinstance(error, KeyboardInterrupt)
            self._emit(run, event.RunState.ABORT if aborted else event.RunState.FAIL, error=error)
            raise
        self._emit(run, event.RunState.COMPLETE)

    def close(self) -> None:
        """Give the waiting events a few seconds to be delivered; what is not stays in the outbox."""
        self._deliverer.close(CLOSING_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _emit(self, run: Run, kind: event.RunState, *, error: BaseException | None = None) -> None:
        try:
            self._keep(run, kind, error)
        except Exception:  # a job must not fail because lineage does; the log says what is missing
            log.exception("The %s event of run %s (%s) could not be kept and is lost.", kind.value, run.id, run.job)
        except BaseException:  # a signal interrupted it
            if kind is not event.RunState.START:
                self._keep(run, kind, error)  # the run's end is kept, at worst twice
            raise
        finally:
            self._deliverer.wake()

    def _keep(self, run: Run, kind: event.RunState, error: BaseException | None) -> None:
        said = Serde.to_dict(run.event(kind, namespace=self._namespace, error=error))
        self._outbox.put(strict_json.dumps(said))


def cause(error: BaseException) -> ol.RunFacet:
    """Why a run failed, without the passwords that libraries put into their errors."""
    trace = shortened(redacted("".join(traceback.format_exception(error))))
    message = shortened(redacted(strict_json.described(error))) or type(error).__name__
    return ol.error_message_run.ErrorMessageRunFacet(message, "python", stackTrace=trace, producer=PRODUCER)


def shortened(text: str) -> str:
    """A text without its middle if it is very long, so that an event with it is not refused for its size."""
    left_out = len(text) - MOST_CHARACTERS
    if left_out <= 0:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]}\n… {left_out:,} characters are left out …\n{text[-half:]}"
