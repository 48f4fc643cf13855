"""A live log with everything that only live trading has, replayed in other batches; and what the next start knows of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.live.player import EXPERIMENT, SMALL, Player, recorded
from tests.log.live import values_of
from xarb.errors import Refused
from xarb.live.begin import FILLS_NS, check_may_start, past_of
from xarb.log.batching import slow_row
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.model.command import CancelOrder, Command, SubmitOrder
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS
from xarb.replay import _as_now
from xarb.starts import LIVE, PAPER
from xarb.venues.orderids import OrderName
from xarb.verbs.verify import verify

OUTCOMES = ("fills", "fills", "fills", "half", "rejected", "not_sent", "unknown", "silence")


def silent(done: int, total: int, note: str = "") -> None:
    """No progress."""


class Hand(Player):
    """Plays, and answers commands by hand, late and out of order, between rows that change nothing."""

    def __init__(
        self, folder: Path, seed: int, changes: Mapping[str, str] | None = None, experiment: Path = EXPERIMENT, **more: Any
    ) -> None:
        self.sent: list[Command] = []
        self.all_sent: list[Command] = []
        self.dice = random.Random(seed)  # noqa: S311  # a test's draw
        self._fills = 0
        super().__init__(folder, seed=seed, mode=LIVE, send=self._take, changes=changes, experiment=experiment, **more)

    def _take(self, commands: Any) -> None:
        self.sent += commands
        self.all_sent += commands

    def put(self, kind: str, **values: Any) -> None:
        """A row that is held until the next flush."""
        self._put(kind, values_of(kind, {"ts_event": None} | values)[2:])

    def report(self, command: Command, event: str, **more: Any) -> None:
        """A reports row of a command's order."""
        one = self.trading.assembly.engine.instruments[command.instrument]
        about = {"account": command.account, "strategy": command.strategy, "venue": one.venue, "symbol": one.symbol, "start": 1}
        about |= {"order": command.order, "client_order_id": command.client_order_id, "event": event, "source": "stream"}
        self.put("reports", **(about | more))

    def fill(self, command: SubmitOrder, qty: int, *, fee: int = 10**12) -> None:
        """A fill at the limit."""
        one = self.trading.assembly.engine.instruments[command.instrument]
        self._fills += 1
        price, size = (v * 10 ** (MONEY_SCALE - s) for v, s in ((command.price_int, one.px_scale), (qty, one.qty_scale)))
        paid = {"fee": fee, "fee_asset": one.quote, "liquidity": "taker"}
        self.report(command, "fill", fill_id=f"f{self._fills}", price=price, qty=size, **paid)

    def answer(self) -> None:
        """What becomes of the commands since the last call."""
        taken, self.sent = self.sent, []
        self.dice.shuffle(taken)
        for command in taken:
            if not isinstance(command, SubmitOrder):
                self.report(command, "cancel_sent", source="cancel")
                continue
            outcome = self.dice.choice(OUTCOMES)
            if outcome in ("fills", "half"):
                self.report(command, "accepted")
                whole = command.qty_int
                for qty in (whole // 2, whole - whole // 2) if outcome == "fills" else (whole // 2 + 1,):
                    if qty:
                        self.fill(command, qty)
                if outcome == "half":
                    self.report(command, "canceled")
            elif outcome != "silence":
                self.report(command, outcome, reason="drawn")
            self.between()

    def between(self) -> None:
        """Rows beside the market."""
        self._ts += self.dice.choice([0, 0, 1, 5 * NANOS_PER_MS, 700 * NANOS_PER_MS])
        kind = self.dice.choice(["balances", "frames", "health", "operator", "none"])
        if kind == "balances":
            self.put(kind, account="main", strategy="", venue="binance", asset="USDT", free=10**20, locked=0)
        elif kind == "frames":
            self._put(kind, (0, "binance", None, b"{}"))
        elif kind == "health":
            self._put(kind, (None, "loop_late_ns", 1, None))
        elif kind == "operator":
            self._put(kind, (self.dice.choice(["disarm", "arm", "arm", "cancel", "note"]), "test", None))


def played(folder: Path, seed: int, rows: int = 12_000, changes: Mapping[str, str] | None = None) -> Hand:
    """A log on which many things happened."""
    hand = Hand(folder, seed, changes)
    market = list(recorded(0, rows))
    while market:
        count = hand.dice.choice([1, 10, 100, 300])
        part, market = market[:count], market[count:]
        hand.play([(kind, (values[0], max(values[1], hand.log.last_ts), *values[2:])) for kind, values in part])
        hand.answer()
        hand.between()
        if hand.dice.random() < 0.7:  # else it waits and comes with the market
            hand.flush_held()
    return hand


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_split_gives_the_same_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Reports, timers, acts of the operator, balances and raw frames among market rows, at equal and at later times."""
    folder = tmp_path / "log"
    hand = played(folder, seed)
    hand.end()
    kinds = Counter(row[0] for row in hand.outputs)
    assert min(kinds[kind] for kind in ("commands", "orders", "fills", "ledger")) > 10
    with LogReader(folder) as log:
        for kind in ("reports", "timers", "operator", "balances", "frames", "health"):
            assert next(iter(log.rows(kind)), None) is not None, kind
        told = {
            (row["order"], row["kind"], row["price_int"], row["qty_int"])
            for _, row in log.outputs(kinds=("commands",))
            if row["kind"] == "submit"
        }
    assert told == {(one.order, "submit", one.price_int, one.qty_int) for one in hand.all_sent if isinstance(one, SubmitOrder)}, (
        "what is logged is what is sent"
    )
    for rows in (1, 7, 1000, 262_144):
        monkeypatch.setattr("xarb.verbs.verify.BATCH_ROWS", rows)
        proof = verify(folder, advance=silent)
        assert proof.equal, (rows, proof.tables)


def test_the_next_start_knows_what_was_left_and_what_was_told(tmp_path: Path) -> None:
    """Orders without an end, with what filled of them; recent fills by account, because both sides of a trade have its id."""
    folder = tmp_path / "log"
    hand = played(folder, 5)
    hand.log.close()
    ends: dict[int, bool] = {}
    filled: Counter[int] = Counter()
    seen: set[tuple[int, str]] = set()
    last: Mapping[str, Any] = {}
    with LogReader(folder) as log:
        for row in log.rows("reports"):
            last = row
            order = row["order"]
            ends[order] = ends.get(order, False) or row["event"] in ("canceled", "rejected", "not_sent", "expired")
            if row["event"] == "fill" and (order, row["fill_id"]) not in seen:
                seen.add((order, row["fill_id"]))
                filled[order] += row["qty"]
    past = past_of(folder)
    mine = {one.name: one.filled_qty for one in past.left}
    scales = [one.qty_scale for one in past.instruments]
    expected = {
        OrderName(1, one.order): filled[one.order]
        for one in hand.all_sent
        if isinstance(one, SubmitOrder)
        and not ends.get(one.order)
        and filled[one.order] < one.qty_int * 10 ** (MONEY_SCALE - scales[one.instrument])
    }
    assert mine == expected
    assert len(mine) > 2
    assert {row[3] for row in past.fills} == {fill for _, fill in seen}
    more = LiveLog.open(folder, SMALL)
    again = {name: value for name, value in last.items() if name not in ("seq", "ts_recv")} | {
        "event": "fill",
        "fill_id": "f1",
        "start": None,
        "order": None,
    }
    later = more.last_ts + 2 * FILLS_NS
    first, second = past.left[:2]
    end = {**again, "start": 1, "order": first.name.order, "event": "not_sent", "fill_id": None}
    part = {**again, "start": 1, "order": second.name.order, "fill_id": "twice", "qty": 1, "ts_event": 1}
    ahead = {**again, "fill_id": "ahead", "ts_event": later}
    more.append({"reports": [values_of("reports", {**ahead, "seq": more.last + 1, "ts_recv": more.last_ts})]})
    rows = [{**again, "account": "other", "ts_event": None}, {**again, "fill_id": "early", "ts_event": 1}, end, part, part]
    made = [values_of("reports", {**row, "seq": more.last + 1 + at, "ts_recv": later}) for at, row in enumerate(rows)]
    more.append({"reports": made})
    more.close()
    after = past_of(folder)
    assert {(row[0], row[3]) for row in after.fills} == {
        ("other", "f1"),
        *((last["account"], fill) for fill in ("early", "twice", "ahead")),
    }
    assert {one.name: one.filled_qty for one in after.left} == {
        name: qty + (name == second.name) for name, qty in mine.items() if name != first.name
    }
    with pytest.raises(Refused, match="live trading; paper"):
        check_may_start(after, PAPER)


def test_a_command_decided_before_a_finer_row_is_sent_at_the_scales_behind_it() -> None:
    """Price and size grow by the powers of ten by which the instrument did; a cancel has neither."""
    about = {"ts": 1, "order": 1, "client_order_id": "c", "account": "main", "strategy": "s", "instrument": 0}
    names = ("venue", "symbol", "native", "base", "quote", "settle")
    then = Instrument(**dict.fromkeys(names, "x"), kind="spot", px_scale=2, qty_scale=5)  # type: ignore[arg-type]
    now = msgspec.structs.replace(then, px_scale=3, qty_scale=7)
    order = SubmitOrder(**about, side="buy", tif="ioc", price_int=11, qty_int=13)  # type: ignore[arg-type]
    cancel = CancelOrder(**about)  # type: ignore[arg-type]
    sent = _as_now(order, then, now)
    assert isinstance(sent, SubmitOrder)
    assert (sent.price_int, sent.qty_int) == (110, 1300)
    assert (_as_now(order, then, then), _as_now(cancel, then, now)) == (order, cancel)


def test_a_raw_frame_keeps_its_place_and_time() -> None:
    """Without its payload, which the engine does not hear."""
    assert slow_row("frames", (5, 77, 0, "alpha", None, b"x")) == SlowRow(5, 77, "frames", {})
