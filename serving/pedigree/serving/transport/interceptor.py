"""What every request passes, in one place: how many are inside, who it is, how fast it asks, and what is told of it later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import grpc

from pedigree.online.plans.plan import Plan
from pedigree.serving.auth.permissions import Asked, PermissionRules
from pedigree.serving.auth.principal import Principal, client_name
from pedigree.serving.auth.tokens import Metadata, Tokens
from pedigree.serving.errors import StoreUnavailableError
from pedigree.serving.limits import Rates
from pedigree.serving.refusals import (
    CrowdedError,
    DeniedError,
    StoppingError,
    UnauthenticatedError,
)
from pedigree.serving.settings import ServingSettings
from pedigree.serving.status_codes import REFUSED, STATUS, code_of, status_of, with_retry
from pedigree.serving.telemetry.logs import CALLER, REQUEST_ID, id_of
from pedigree.serving.telemetry.refusal_log import RefusalLog
from pedigree.serving.telemetry.traces import Tracing

Work = Callable[[Any, Any, Principal | None], Awaitable[bytes]]
"""What answers a request: the message, gRPC's context, and who asks (None: everybody is answered)."""

OK, CANCELLED = grpc.StatusCode.OK, grpc.StatusCode.CANCELLED


class RequestObserver(Protocol):
    """Who is told of requests that came to their end."""

    def count_request(self, rpc: str, service: str, code: str, seconds: float) -> None:
        """One did."""

    def count_refused(self, reason: str) -> None:
        """One was not let in."""


@dataclass(slots=True)
class Interceptor:
    """The way in.

    Attributes:
        limit: how many requests may be inside.
        tokens: who verifies tokens; None: everybody is let in.
        rates: how fast each may ask; None: as fast as it likes.
        is_stopping: whether nothing new is taken.
        under_way: what answers requests that were taken.
        is_known: whether something is the name of a feature service; others are not named in metrics, or there would be no end.
    """

    limit: int
    is_known: Callable[[str], bool]
    tokens: Tokens | None = None
    rates: Rates | None = None
    metrics: RequestObserver | None = None
    tracing: Tracing | None = None
    inside: int = 0
    rules: PermissionRules | None = None
    refusals: RefusalLog = field(default_factory=RefusalLog)
    is_stopping: bool = False
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        settings: ServingSettings,
        *,
        is_known: Callable[[str], bool],
        tokens: Tokens | None,
        metrics: RequestObserver | None,
        tracing: Tracing | None,
    ) -> Interceptor:
        """The interceptor that settings describe."""
        limits = settings.limits
        rates = Rates(limits.rate, limits.burst) if limits.rate else None
        return cls(limits.concurrent, is_known, tokens, rates, metrics, tracing)

    async def answered(self, rpc: str, work: Work, request: Any, context: Any) -> bytes:
        """What `work` answers; an error ends the call with its status. Either way the caller gets the request's id back."""
        start = perf_counter()
        metadata = context.invocation_metadata()
        request_id = id_of(metadata)
        REQUEST_ID.set(request_id)
        code = CANCELLED
        self.inside += 1
        try:
            answer = self.let_in if self.tracing is None else self.traced
            reply = await answer(rpc, work, request, context, metadata)
            code = OK
            context.set_trailing_metadata((("x-request-id", request_id),))
            return reply
        except Exception as error:
            code, message = status_of(error, request_id)
            self.note(error, code, context)
            await context.abort(code, message, (("x-request-id", request_id), *with_retry(error)))
            raise
        finally:
            self.inside -= 1
            if self.metrics is not None:
                self.metrics.count_request(rpc, self.service_of(request), code.name, perf_counter() - start)

    async def let_in(self, _rpc: str, work: Work, request: Any, context: Any, metadata: Metadata) -> bytes:
        """What `work` answers, where the caller is let in.

        Raises:
            CrowdedError, UnauthenticatedError, KeysUnavailableError, TooFastError: it is not.
        """
        if self.is_stopping:
            raise StoppingError
        if self.inside > self.limit:
            raise CrowdedError(self.limit)
        self.take()
        who = None if self.tokens is None else await self.tokens.principal(metadata)
        if who is not None:
            CALLER.set(f"subject:{who.subject}")
        if self.rates is not None:
            self.rates.spend(CALLER.get() or client_name(context))
        return await work(request, context, who)

    def take(self) -> None:
        """The present task answers a request until its reply is written."""
        task = asyncio.current_task()
        if task is not None:
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def drain(self, seconds: float) -> None:
        """Take nothing new, and return when the replies to all that was taken are written, or so many seconds have passed."""
        self.is_stopping = True
        if self.under_way:
            await asyncio.wait(tuple(self.under_way), timeout=seconds)

    async def traced(self, rpc: str, work: Work, request: Any, context: Any, metadata: Metadata) -> bytes:
        """The same within a span."""
        assert self.tracing is not None  # noqa: S101 - for the type checker
        with self.tracing.span(rpc, metadata, REQUEST_ID.get()) as span:
            try:
                reply = await self.let_in(rpc, work, request, context, metadata)
            except Exception as error:
                span.set_attribute("rpc.grpc.status_code", code_of(error).value[0])
                raise
            span.set_attribute("rpc.grpc.status_code", 0)
            span.set_attribute("pedigree.service", self.service_of(request))
            return reply

    def permit(self, who: Principal | None, plan: Plan, asked: Asked) -> None:
        """Return where the caller may read what it asks for by this plan.

        Raises:
            DeniedError: it may not.
        """
        if self.tokens is None:
            return
        if who is None:
            raise UnauthenticatedError("nobody was named")
        if self.rules is None or self.rules.plan is not plan:
            self.rules = PermissionRules.of(plan)
        self.rules.permit(who, asked)

    def permits(self, who: Principal | None, plan: Plan, asked: Asked) -> bool:
        """Whether `permit` returns."""
        try:
            self.permit(who, plan, asked)
        except DeniedError:
            return False
        return True

    def service_of(self, request: Any) -> str:
        """The feature service that a request names, for metrics: empty where it names none."""
        name: str = getattr(request, "feature_service", "")
        return name if not name or self.is_known(name) else "(unknown)"

    def note(self, error: Exception, code: grpc.StatusCode, context: Any) -> None:
        """Count a caller who was not let in, and log every request that was refused and who sent it."""
        reason = REFUSED.get(type(error))
        if reason is not None and self.metrics is not None:
            self.metrics.count_refused(reason)
        is_logged = type(error) not in STATUS or isinstance(
            error, StoreUnavailableError
        )  # with its cause, where it arose
        if not is_logged:
            self.refusals.note(error, code, CALLER.get() or client_name(context))
