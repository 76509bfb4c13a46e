"""Work in a thread of its own, which neither answers to others nor the end of the program have to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> asyncio.Future[T]:
    """Start the work; its result is in the future once it is done."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def do() -> None:
        try:
            result = work()
        except Exception as problem:
            tell(future.set_exception, problem)
        else:
            tell(future.set_result, result)

    def tell(setter: Callable[..., None], what: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody listens
            loop.call_soon_threadsafe(lambda: None if future.done() else setter(what))

    threading.Thread(target=do, daemon=True).start()
    return future
