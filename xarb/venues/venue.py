"""The one seam to the world: a venue yields inputs and takes commands.

Live adapters (and the paper venue behind them) implement `Venue`; a live driver owns the loop, stamps `ts_recv` and `seq`, and hands
the rows to the log. `SimulatedVenues` of a backtest does not stand behind this seam: its inputs come from the log and its time is the
log's, so it is driven in turns with the engine (docs, "Simulated venue and driver").
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

from xarb.model.command import Command


class VenueRow(NamedTuple):
    """One input row before it has a place in the log: its kind and the columns of that kind's table, without `seq` and `ts_recv`."""

    kind: str
    values: dict[str, Any]


class Venue(Protocol):
    """A venue as the live driver sees it."""

    @property
    def name(self) -> str:
        """Venue id, lower case, as in the column `venue`."""

    def rows(self) -> AsyncIterator[VenueRow]:
        """Inputs in the order of their arrival, reports and connection events among them, until the venue is closed."""

    def send(self, commands: Sequence[Command]) -> None:
        """Begin to send commands, in order, and return at once; what becomes of them arrives as `reports` rows.

        Raises:
            InvariantBroken: a command that cannot be this venue's; nothing from it on is sent.
        """

    async def close(self) -> None:
        """End the connections; `rows` ends after the last event."""
