"""Chains as their rows say they are: blocks that are complete, pools and lenders as of the newest of them, and how to go back.

Rows of a block wait until its `blocks` row has come. The last `KEPT` blocks can be undone, each exactly. A block that does not stand on
the one before, or lacks rows, is a gap: every pool of the chain is unknown until its next snapshot, every lender until its next row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from xarb.engine.captured import BlockCopy, ChainCopy, ChainsCopy, UndoCopy
from xarb.engine.lending import Lending, Lent, lent_of
from xarb.engine.lending import copy_of as lent_copy
from xarb.engine.pool import Maths, Moved, Pool, Resized, Undo, Whole, copy_of, maths_of
from xarb.engine.strategy import BlockView, FeedView
from xarb.errors import LogError
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument
from xarb.model.units import NEVER
from xarb.pools.financing import Loan, LoanTerms

KINDS: Final = ("pools", "swaps", "loans", "blocks", "connections")
KEPT: Final = 64  # blocks that can be undone; a finalised block of Ethereum lies about as deep
Emit = Callable[[str, tuple[Any, ...]], None]
_FULL: Final = 1000  # score of a live pool
_GAP: Final = "block_gap"
_SHORT: Final = "block_incomplete"
_UNDO: Final[dict[str, type[Moved | Resized]]] = {"moved": Moved, "resized": Resized}


class Done:
    """A block that was applied: its header, what it stands on, and what takes it back, last first."""

    __slots__ = ("block", "lent", "parent_hash", "undo")

    def __init__(self, block: BlockView, parent_hash: str, undo: list[tuple[int, Undo]], lent: list[Lent]) -> None:
        self.block = block
        self.parent_hash = parent_hash
        self.undo = undo
        self.lent = lent


class Chain:
    """One chain.

    Args:
        venue: its name.
        pools: its pools by instrument number.
        head_ns: silence after which they are stale; 0: never.
        lending: who lends there.
    """

    def __init__(self, venue: str, pools: dict[int, Pool], head_ns: int, lending: Lending) -> None:
        self.venue = venue
        self.pools = pools
        self.head_ns = head_ns
        self.lending = lending
        self.head_hash: str | None = None
        self.blocks: list[Done] = []
        self.staged: list[SlowRow] = []
        self.decimals: dict[str, int] = {}  # of its tokens, by address
        self.conn = -1
        self.heard = 0  # when the newest block came, ns
        self.due = NEVER
        self.silent = self.lost = False
        self.shown = dict.fromkeys(pools, "down")

    @property
    def block(self) -> BlockView | None:
        """The newest block, None before any, and where only its hash is known."""
        return self.blocks[-1].block if self.blocks else None

    def state(self, pool: Pool) -> str:
        """State of a pool's feed; the most serious of what holds."""
        if pool.drift:
            return "drifted"
        if self.lost or (pool.maths is None and not pool.gapped):
            return "down"
        if pool.maths is None:
            return "gapped"
        return "stale" if self.silent else "live"

    def forget(self) -> None:
        """No pool is known any more, no block can be undone."""
        for pool in self.pools.values():
            pool.forget()
        self.lending.forget()
        self.blocks.clear()
        self.head_hash = None


class SimulatedPools(Protocol):
    """What simulated chains make of pools: they hold our transactions, which the log's do not."""

    def run(self, last_seq: int) -> None:
        """Apply the rows with seq up to this."""

    def pool(self, number: int, recorded: Maths) -> Maths:
        """A pool as strategies are to see it, in place of what the log says of it; not to be changed."""


class Chains:
    """All chains of the log.

    Args:
        instruments: by number; those of kind `pool` are followed.
        heads: by venue, the silence in ns after which its pools are stale.
        emit: takes rows of states of feeds and of flags.
        loans: by venue what the config states of lenders of whom the log says nothing.

    Attributes:
        simulated: where transactions are simulated, who says what pools would be with them; it follows block by block.
    """

    def __init__(
        self, instruments: Sequence[Instrument], heads: Mapping[str, int], emit: Emit, *, loans: Mapping[str, Sequence[LoanTerms]]
    ) -> None:
        self._heads, self._loans = heads, loans
        self._emit = emit
        self.simulated: SimulatedPools | None = None
        self._names = {number: (one.venue, one.symbol) for number, one in enumerate(instruments) if one.kind == "pool"}
        self._numbers = {name: number for number, name in self._names.items()}
        self._pools = {number: Pool() for number in self._names}
        self._chains: dict[str, Chain] = {}
        for number in self._names:
            self._chain(self._names[number][0])

    # --- what it knows

    def block(self, venue: str) -> BlockView | None:
        """The newest complete block of a chain."""
        chain = self._chains.get(venue)
        return None if chain is None else chain.block

    def pool(self, number: int) -> Maths | None:
        """A pool as of its chain's newest complete block; None while its feed is not live. A simulated chain may hold swaps of ours."""
        maths = self._pools[number].maths if self.feed(number).tradable else None
        return maths if maths is None or self.simulated is None else self.simulated.pool(number, maths)

    def maths(self, number: int) -> Maths | None:
        """A pool as the log has it, whatever its feed's state; None while it is not known."""
        return self._pools[number].maths

    def staged(self, venue: str, block_hash: str) -> list[SlowRow]:
        """The rows of a block that waits for its end."""
        return [row for row in self._chain(venue).staged if row.values["block_hash"] == block_hash]

    def is_pool(self, number: int) -> bool:
        """Whether an instrument is a pool."""
        return number in self._pools

    def feed(self, number: int) -> FeedView:
        """State of a pool's feed."""
        state = self._chains[self._names[number][0]].shown[number]
        return FeedView(state, _FULL if state == "live" else 0, state == "live")

    def decimals(self, venue: str, token: str) -> int | None:
        """Decimals of a token, None as long as no pool of it was seen."""
        chain = self._chains.get(venue)
        return None if chain is None else chain.decimals.get(token)

    def loans(self, venue: str, token: str) -> tuple[Loan, ...]:
        """Who lends a token of a chain, and for what, as of its newest complete block."""
        chain = self._chains.get(venue)
        return () if chain is None else chain.lending.of(token, chain.decimals.get(token))

    def heard(self, venue: str) -> int:
        """When the newest block came, ns."""
        return self._chains[venue].heard

    def next_deadline(self) -> int:
        """When the next chain has been silent for too long, ns."""
        return min((chain.due for chain in self._chains.values()), default=NEVER)

    # --- what changes it

    def apply(self, row: SlowRow) -> None:
        """Apply a row of a chain, or of any connection, at its own time.

        Raises:
            LogError: it is of a pool that the log does not know as an instrument.
        """
        values = row.values
        if row.kind == "connections":
            self._connection(values)
            return
        chain = self._chain(values["venue"])
        if row.kind != "blocks":
            if row.kind != "loans" and (chain.venue, values["symbol"]) not in self._numbers:
                raise LogError(f"seq {row.seq}: no instruments row of pool {values['symbol']}@{chain.venue} stands before it")
            if chain.staged and chain.staged[0].values["block_hash"] != values["block_hash"]:
                chain.staged.clear()  # its block was never completed
            chain.staged.append(row)
        elif values["event"] == "removed":
            self._remove(chain, values)
        else:
            self._add(chain, values, row.ts_recv)
        if row.kind == "blocks":
            self._show(chain)
            if self.simulated is not None:
                self.simulated.run(row.seq)

    def _connection(self, values: Mapping[str, Any]) -> None:
        """A connection opened, was lost, or skipped something."""
        chain, event = self._chains.get(values["venue"]), values["event"]
        if chain is None or event in ("heartbeat", "resync"):
            return
        chain.staged.clear()  # whoever connects gives the whole block again
        if event in ("lost", "closed"):
            chain.lost = chain.lost or values["conn"] == chain.conn
        elif event == "gap" and values["symbol"] is None:
            chain.forget()
        elif event == "gap" and (number := self._numbers.get((chain.venue, values["symbol"]))) is not None:
            self._pools[number].forget()
            chain.blocks.clear()  # to go back would bring to life what is not known
        self._show(chain)

    def on_deadline(self, ts: int) -> None:
        """Chains that have been silent for too long at `ts`."""
        for chain in self._chains.values():
            if chain.due <= ts:
                chain.silent, chain.due = True, NEVER
                self._show(chain)

    # --- blocks

    def _add(self, chain: Chain, values: Mapping[str, Any], now: int) -> None:
        staged, chain.staged = chain.staged, []
        rows = [row for row in staged if row.values["block_hash"] == values["block_hash"]]
        if chain.head_hash is not None and values["parent_hash"] != chain.head_hash:
            chain.forget()
            self._flag(chain.venue, "", _GAP, values["block_number"], None)
        undo: list[tuple[int, Undo]] = []
        lent: list[Lent] = []
        if len(rows) != values["rows"]:
            chain.forget()
            self._flag(chain.venue, "", _SHORT, len(rows), values["rows"])
        else:
            undo = self._apply_rows(chain, rows)
            lent = [chain.lending.apply(row.values) for row in rows if row.kind == "loans"][::-1]
        fee = values["base_fee_wei"]
        block = BlockView(
            number=values["block_number"],
            hash=values["block_hash"],
            ts_event=values["ts_event"],
            base_fee_wei=None if fee is None else int(fee),
            gas_used=values["gas_used"],
            gas_limit=values["gas_limit"],
        )
        chain.head_hash = block.hash
        chain.blocks.append(Done(block, values["parent_hash"], undo, lent))
        del chain.blocks[:-KEPT]
        chain.conn, chain.lost, chain.silent, chain.heard = values["conn"], False, False, now
        chain.due = now + chain.head_ns if chain.head_ns else NEVER

    def _apply_rows(self, chain: Chain, rows: Sequence[SlowRow]) -> list[tuple[int, Undo]]:
        """Apply the rows of a complete block; what takes them back, last first."""
        swaps = {(row.values["log_index"], row.values["symbol"]): row.values for row in rows if row.kind == "swaps"}
        done: list[tuple[int, Undo]] = []
        for row in rows:
            if row.kind != "pools":
                continue
            values = row.values
            chain.decimals[values["token0"]], chain.decimals[values["token1"]] = values["decimals0"], values["decimals1"]
            number, at = self._numbers[chain.venue, values["symbol"]], values["log_index"]
            of_log = None if at is None else at + 1 if values["kind"] == "v2" else at  # the swap of v2 follows its sync
            steps, drift = self._pools[number].apply(values, swaps.get((of_log, values["symbol"])))
            done += [(number, step) for step in reversed(steps)]
            if drift is not None:
                self._flag(chain.venue, values["symbol"], *drift)
        return done[::-1]

    def _remove(self, chain: Chain, values: Mapping[str, Any]) -> None:
        chain.staged.clear()
        if chain.blocks and chain.head_hash == values["block_hash"]:
            done = chain.blocks.pop()
            for number, step in done.undo:
                self._pools[number].undo(step)
            for one in done.lent:
                chain.lending.undo(one)
            chain.head_hash = done.parent_hash
        else:
            chain.forget()
            self._flag(chain.venue, "", _GAP, values["block_number"], None)

    # --- outputs

    def _flag(self, venue: str, symbol: str, rule: str, value: int | None, bound: int | None) -> None:
        self._emit("flags", (venue, symbol, rule, value, bound))

    def _show(self, chain: Chain) -> None:
        """Tell the feeds whose state changed."""
        for number, pool in chain.pools.items():
            state, before = chain.state(pool), chain.shown[number]
            if state != before:
                chain.shown[number] = state
                live = state == "live"
                self._emit("feed_states", (*self._names[number], state, before, _FULL if live else 0, live))

    def _chain(self, venue: str) -> Chain:
        chain = self._chains.get(venue)
        if chain is None:
            mine = {number: self._pools[number] for number, (of, _) in self._names.items() if of == venue}
            chain = self._chains[venue] = Chain(venue, mine, self._heads.get(venue, 0), Lending(self._loans.get(venue, ())))
        return chain

    # --- its whole state

    def capture(self) -> ChainsCopy:
        """All chains and pools as plain values."""
        return ChainsCopy(
            [_chain_copy(chain) for chain in self._chains.values()],
            {number: pool.capture() for number, pool in self._pools.items()},
        )

    def restore(self, copy: ChainsCopy) -> None:
        """Take over a copy; nothing was applied before."""
        for number, pool in copy.pools.items():
            self._pools[number].restore(pool)
        for one in copy.chains:
            chain = self._chain(one.venue)
            chain.head_hash, chain.conn, chain.due = one.head_hash, one.conn, one.due
            chain.silent, chain.lost = one.silent, one.lost
            chain.staged = [SlowRow(*row) for row in one.staged]
            chain.shown |= one.shown
            chain.decimals, chain.heard = {**one.decimals}, one.heard
            chain.blocks = [_done_of(block) for block in one.blocks]
            chain.lending.restore(one.lent)


def _chain_copy(chain: Chain) -> ChainCopy:
    return ChainCopy(
        venue=chain.venue,
        head_hash=chain.head_hash,
        blocks=[_block_copy(done) for done in chain.blocks],
        staged=[(row.seq, row.ts_recv, row.kind, {**row.values}) for row in chain.staged],
        conn=chain.conn,
        due=chain.due,
        silent=chain.silent,
        lost=chain.lost,
        shown={**chain.shown},
        decimals={**chain.decimals},
        heard=chain.heard,
        lent=chain.lending.capture(),
    )


def _block_copy(done: Done) -> BlockCopy:
    one = done.block
    undo = [_undo_copy(number, step) for number, step in done.undo]
    head = (one.number, one.hash, done.parent_hash, one.ts_event, one.base_fee_wei, one.gas_used, one.gas_limit)
    return BlockCopy(*head, undo, [lent_copy(step) for step in done.lent])


def _done_of(copy: BlockCopy) -> Done:
    block = BlockView(
        number=copy.number,
        hash=copy.hash,
        ts_event=copy.ts_event,
        base_fee_wei=copy.base_fee_wei,
        gas_used=copy.gas_used,
        gas_limit=copy.gas_limit,
    )
    undo = [(step.pool, _undo_of(step)) for step in copy.undo]
    return Done(block, copy.parent_hash, undo, [lent_of(one) for one in copy.lent])


def _undo_copy(number: int, step: Undo) -> UndoCopy:
    if isinstance(step, Whole):
        return UndoCopy(number, "whole", (), copy_of(step.maths))
    return UndoCopy(number, "moved" if isinstance(step, Moved) else "resized", tuple(step), None)


def _undo_of(copy: UndoCopy) -> Undo:
    return Whole(maths_of(copy.maths)) if copy.what == "whole" else _UNDO[copy.what](*copy.numbers)
