"""The end of a session: who asked for it, and the last comparison, which may open a bundle again that is to come to its end as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec


class Ending(msgspec.Struct):
    """How a session ends: who asked for it, and whether it was a kill."""

    actor: str
    killed: bool = False


async def compare_at_the_end(
    reconcile: Callable[[], Awaitable[None]], quiet: Callable[[], Awaitable[None]], open_bundles: Callable[[], int]
) -> None:
    """Compare with the exchanges; where a fill that only this told has opened a bundle again, wait for its end and compare once more.

    Args:
        reconcile: compares.
        quiet: waits until all bundles have ended, for as long as a stop may take at most.
        open_bundles: how many are open.
    """
    await reconcile()
    if open_bundles():
        await quiet()
        await reconcile()
