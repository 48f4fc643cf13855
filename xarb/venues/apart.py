"""Pools of a chain as they would be: with the swaps that are simulated, and without those of ours that the log has.

The log knows nothing of what is simulated. A pool that it moved goes its own way from then on: each recorded row is stepped upon it, by the
contracts' integers, as its sender asked for it (`asked`). Rows of transactions of our own are left out, since a cycle that is simulated stands for
them. Once such a pool is what the log says again, it goes with the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from xarb.engine.chains import Chains
from xarb.engine.pool import Maths, Pool, copy_of, maths_of, same
from xarb.model.event import SlowRow
from xarb.venues.asked import again, given, through
from xarb.venues.captured import ApartCopy

Net = tuple[int, int]  # token0 and token1 that simulated swaps put in beyond what recorded ones of ours did
_NONE: Final[Net] = (0, 0)


class Apart:
    """The pools of one chain that are not what the log says.

    Args:
        chains: the pools as the log has them.
        numbers: of its pools by address.
        own: hashes of the transactions in the log that are ours.
    """

    def __init__(self, chains: Chains, numbers: Mapping[str, int], own: frozenset[str]) -> None:
        self._chains, self.numbers, self._own = chains, numbers, own
        self._pools: dict[int, Maths] = {}  # never changed in place
        self._net: dict[int, Net] = {}

    def pool(self, number: int) -> Maths | None:
        """A pool as it would be, None while its feed is not live; not to be changed."""
        recorded = self._chains.pool(number)
        return None if recorded is None else self.instead(number, recorded)

    def instead(self, number: int, recorded: Maths) -> Maths:
        """The same of a pool that the log has as `recorded`."""
        return self._pools.get(number, recorded)

    def swap(self, number: int, amount: int, *, zero_for_one: bool) -> None:
        """A swap that is simulated."""
        pool = self.pool(number)
        assert pool is not None, "it was quoted"
        self._count(number, amount, zero_for_one=zero_for_one)
        self._keep(number, through(pool, amount, zero_for_one=zero_for_one)[1])

    def _count(self, number: int, amount: int, *, zero_for_one: bool) -> None:
        in0, in1 = self._net.get(number, _NONE)
        self._net[number] = (in0 + amount, in1) if zero_for_one else (in0, in1 + amount)

    # --- a block of the log

    def before(self, rows: Sequence[SlowRow]) -> dict[int, Maths | None]:
        """Copies of those pools, as the log has them, that a block's rows concern here; to be asked for before the block is applied."""
        touched = {self.numbers[row.values["symbol"]] for row in rows if row.kind == "pools"}
        mine = {self.numbers[row.values["symbol"]] for row in rows if row.kind != "loans" and row.values["tx_hash"] in self._own}
        here = sorted((touched & {*self._pools, *self._net}) | (mine & touched))
        return {number: maths_of(copy_of(self._chains.maths(number))) for number in here}

    def follow(self, rows: Sequence[SlowRow], before: Mapping[int, Maths | None]) -> None:
        """Step a block that was applied; `before` is what the method of that name gave."""
        swaps = {(row.values["log_index"], row.values["symbol"]): row.values for row in rows if row.kind == "swaps"}
        for number, was in before.items():
            mine = self._pools.get(number, was)
            recorded = Pool()
            recorded.maths = maths_of(copy_of(was))  # it is moved in place
            for row in rows:
                values = row.values
                if row.kind == "pools" and self.numbers[values["symbol"]] == number:
                    at = values["log_index"]
                    of_log = None if at is None else at + 1 if values["kind"] == "v2" else at
                    mine = self._step(number, mine, recorded, (values, swaps.get((of_log, values["symbol"]))))
            self._keep(number, mine)

    def _keep(self, number: int, mine: Maths | None) -> None:
        recorded = self._chains.maths(number)
        self._pools.pop(number, None)
        if recorded is None or mine is None:
            return  # it is not known any more: once it is, what we swapped is swapped again
        if same(mine, recorded):
            self._net.pop(number, None)
        else:
            self._pools[number] = mine

    def _step(
        self, number: int, mine: Maths | None, recorded: Pool, row: tuple[Mapping[str, Any], Mapping[str, Any] | None]
    ) -> Maths | None:
        """One row upon the pool as it would be; `recorded` goes on."""
        values, swap = row
        was = maths_of(copy_of(recorded.maths))
        is_one = mine is not None and was is not None and same(mine, was)
        recorded.apply(values, swap)
        now = recorded.maths
        if now is None:
            return None
        if values["tx_hash"] is not None and values["tx_hash"] in self._own:
            for zero_for_one, put in ((True, given(swap, 0)), (False, given(swap, 1))):
                if put > 0:
                    self._count(number, -put, zero_for_one=zero_for_one)
            return mine
        if is_one:
            return maths_of(copy_of(now))
        if mine is None or was is None or values["cause"] in ("snapshot", "initialize"):
            return mine if was is not None and same(was, now) else self._again(number, now)
        try:
            return again(mine, was, now, row).maths
        except ValueError:  # no pool can be that: another one would have been asked for something else
            return self._again(number, now)

    def _again(self, number: int, recorded: Maths) -> Maths:
        """A pool that was unknown, or another one than was thought, with what we swapped beyond what the log has of ours."""
        pool = maths_of(copy_of(recorded))
        assert pool is not None
        in0, in1 = self._net.get(number, _NONE)
        for zero_for_one, amount in ((True, in0), (False, in1)):
            if amount > 0:
                pool = through(pool, amount, zero_for_one=zero_for_one)[1]
        return pool

    # --- over blocks that are removed, and checkpoints

    def capture(self) -> list[ApartCopy]:
        """All of it as plain values, by instrument number."""
        numbers = sorted({*self._pools, *self._net})
        return [ApartCopy(one, copy_of(self._pools.get(one)), self._net.get(one, _NONE)) for one in numbers]

    def restore(self, copies: Sequence[ApartCopy]) -> None:
        """Take over a copy."""
        self._pools = {one.number: maths for one in copies if (maths := maths_of(one.maths)) is not None}
        self._net = {one.number: one.net for one in copies if one.net != _NONE}
