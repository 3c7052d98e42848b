"""Blocking work in threads of its own kind, so that none waits behind another that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Bulkhead:
    """Threads for one kind of work. None is shared with other kinds, and none is waited for when the process ends.

    Attributes:
        threads: how many there are at most. Work that was given up keeps its thread until it ends.
        busy: how many there are.
    """

    name: str
    threads: int
    busy: int = 0

    async def run(self, work: Callable[[], T], *, seconds: float) -> T:
        """What `work` returns, or raises, in a thread.

        Raises:
            TimeoutError: it took longer than `seconds`, or every thread is busy.
        """
        if self.busy >= self.threads:
            raise TimeoutError(f"all {self.threads} threads for {self.name} are busy")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = copy_context()
        thread = Thread(target=lambda: context.run(self.carry_out, work, loop, future), name=self.name, daemon=True)
        self.busy += 1
        try:
            thread.start()
        except RuntimeError as error:
            self.busy -= 1
            raise TimeoutError(f"no thread for {self.name} can be had") from error
        async with asyncio.timeout(seconds):
            return await future

    def carry_out(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]) -> None:
        """Do the work in this thread, and hand its end to the loop."""
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # whatever it is, the caller has it
            failure = error
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(self.ended, future, result, failure)

    def ended(self, future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
        """The thread is free; tell the caller, if it still waits."""
        self.busy -= 1
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
