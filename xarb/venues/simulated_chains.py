"""All simulated chains of a run, driven as simulated venues are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop
from typing import Any

from xarb.engine.chains import KINDS, Chains
from xarb.engine.pool import Maths
from xarb.errors import InvariantBroken
from xarb.model.batch import Batch
from xarb.model.command import ChainCommand, CycleReport
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument
from xarb.model.units import NEVER
from xarb.venues.apart import Apart
from xarb.venues.captured import ChainsDealingsCopy
from xarb.venues.chainterms import ChainModel, describe_chain
from xarb.venues.simulated_chain import SimulatedChain


class SimulatedChains:
    """All simulated chains of a run.

    Args:
        instruments: by number.
        models: by venue id of a chain; one without a model takes no commands.
        opening: balances by (account, venue, asset).
        seed: of draws.
        own: hashes of the transactions in the log that are ours.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        models: Mapping[str, ChainModel],
        opening: Mapping[tuple[str, str, str], int],
        seed: int,
        own: frozenset[str] = frozenset(),
    ) -> None:
        self._chains = Chains(instruments, {}, _unheard, loans={venue: model.loans for venue, model in models.items()})
        self._homes = [one.venue for one in instruments]
        self.models = dict(models)
        self._all = {
            venue: SimulatedChain(
                venue,
                models[venue],
                self._chains,
                apart=Apart(self._chains, {one.symbol: at for at, one in enumerate(instruments) if one.venue == venue}, own),
                opening={(account, asset): amount for (account, where, asset), amount in opening.items() if where == venue},
                seed=seed,
            )
            for venue in sorted(models)
        }
        self._rows: list[SlowRow] = []
        self._at = 0

    def load(self, batch: Batch) -> None:
        """Take the next batch; the one before was run to its end."""
        self._rows = [row for row in batch.slow if row.kind in KINDS] if self._all else []
        self._at = 0

    def run(self, last_seq: int) -> None:
        """Apply the rows with seq up to this."""
        while self._at < len(self._rows) and self._rows[self._at].seq <= last_seq:
            row = self._rows[self._at]
            self._at += 1
            chain = self._all.get(row.values["venue"])
            if chain is not None:
                chain.apply(row)

    def pool(self, number: int, recorded: Maths) -> Maths:
        """A pool as strategies see it; not to be changed."""
        chain = self._all.get(self._homes[number])
        return chain.apart.instead(number, recorded) if chain is not None and chain.model.sees_own_swaps else recorded

    def take(self, commands: Sequence[ChainCommand]) -> None:
        """Take commands, in order.

        Raises:
            InvariantBroken: one is for a chain that is not simulated.
        """
        for command in commands:
            if command.venue not in self._all:
                raise InvariantBroken(f"order {command.order} is for {command.venue}, which is not simulated")
            self._all[command.venue].take(command)

    def horizon(self) -> int:
        """No report can fall due before this, as far as the batch at hand tells, ns."""
        return min((chain.horizon(self._next_block(venue)) for venue, chain in self._all.items()), default=NEVER)

    def _next_block(self, venue: str) -> int:
        blocks = (row for row in self._ahead() if row.kind == "blocks" and row.values["venue"] == venue)
        return next((row.ts_recv for row in blocks), NEVER)

    def _ahead(self) -> Iterator[SlowRow]:
        return (self._rows[at] for at in range(self._at, len(self._rows)))

    def reports(self, ts: int) -> list[CycleReport]:
        """Those due up to `ts`, in order; every row with ts_recv up to it was applied."""
        due: list[tuple[int, int, CycleReport]] = []
        for number, chain in enumerate(self._all.values()):
            chain.arrive(ts - self.models[chain.venue].receipt_ns + 1)
            while chain.outbox and chain.outbox[0][0] <= ts:
                at, _, report = heappop(chain.outbox)
                due.append((at, number, report))
        return [report for _, _, report in sorted(due, key=_place)]

    def outbox(self, venue: str) -> list[tuple[int, int, CycleReport]]:
        """What a chain will tell, to look at."""
        return sorted(self._all[venue].outbox, key=_place)

    def balances(self) -> dict[tuple[str, str, str], int]:
        """By (account, venue, asset) at 18 decimals."""
        return {
            (account, venue, asset): amount
            for venue, chain in self._all.items()
            for (account, asset), amount in sorted(chain.balances.items())
        }

    def describe(self) -> list[tuple[str, str, str]]:
        """The assumptions as (venue, what, value); what flatters the result is marked `optimistic`."""
        return [row for venue, model in sorted(self.models.items()) for row in describe_chain(venue, model)]

    def capture(self) -> ChainsDealingsCopy:
        """Everything between two batches."""
        return ChainsDealingsCopy(self._chains.capture(), [chain.capture() for chain in self._all.values()])

    def restore(self, copy: ChainsDealingsCopy) -> None:
        """Take over a copy; nothing was applied before."""
        self._chains.restore(copy.chains)
        for one in copy.dealings:
            self._all[one.venue].restore(one)


def _place(one: tuple[int, int, CycleReport]) -> tuple[int, int]:
    return one[:2]


def _unheard(kind: str, values: tuple[Any, ...]) -> None:
    """What the engine says of feeds is said once."""
    del kind, values
