"""Bundles and flows over restarts: what a start left without an end the next one takes up, settles, and can prove."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engine.desk import money
from tests.engine.test_live_rows import GOOD, desk
from tests.live.player import EXPERIMENT, SMALL, Player, recorded
from tests.live.site import filled, site, traded
from tests.live.test_splits import Hand, silent
from tests.log.live import values_of
from xarb.carrying import KEPT, Left
from xarb.engine.carried import CarriedBundle, CarriedLeg, CarriedTrade
from xarb.engine.liverows import ARM
from xarb.errors import LogError, Refused
from xarb.live.begin import past_of
from xarb.live.kill import forget_inventory
from xarb.log.ends import left_off
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.model.command import SubmitOrder
from xarb.model.event import named
from xarb.model.order import CARRIED
from xarb.model.units import MONEY_ONE
from xarb.starts import spans
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName
from xarb.verbs.verify import verify

ALONE = {"strategies.patient.venues": '["alpha"]', "strategies.eager.execution_timeout_ms": "60000"}


class Trading(Hand):
    """One start of a log: `number` counts them; reports are of its own orders, or of those of an earlier one."""

    def __init__(
        self,
        folder: Path,
        number: int,
        *,
        changes: Mapping[str, str] | None = None,
        armed: bool = True,
        rows: tuple[int, int],
        experiment: Path = EXPERIMENT,
    ) -> None:
        self.number = number
        self._armed = armed
        alone = ALONE if experiment == EXPERIMENT else {}
        super().__init__(folder, number, {**alone, **(changes or {})}, experiment)
        self.market(*rows)

    def act(self, action: str) -> None:
        """The operator does something; arming at once is left out where it is not wanted."""
        if self._armed or action != ARM:
            super().act(action)

    def arm(self) -> None:
        """The operator arms."""
        self._armed = True
        self.act(ARM)

    def market(self, first: int, count: int) -> None:
        """Market rows, until something was sent."""
        for kind, values in recorded(first, count):
            self.play([(kind, (values[0], max(values[1], self.log.last_ts), *values[2:]))])
            if self.sent:
                return

    def report(self, command: Any, event: str, **more: Any) -> None:
        """A reports row of a command's order, of this start unless said otherwise."""
        super().report(command, event, **({"start": self.number, "side": command.side} | more))

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Output rows."""
        return [named(row) for row in self.outputs if row[0] == kind]

    @property
    def carried(self) -> list[CarriedBundle]:
        """What it opened with and has to go on with."""
        return [one for one in self.trading.assembly.ground.bundles if one.state == CARRIED]


def between(folder: Path, said: Sequence[dict[str, Any]]) -> None:
    """Reports that come when no start runs."""
    log = LiveLog.open(folder, SMALL)
    rows = [
        values_of("reports", {"ts_event": None, "seq": log.last + 1 + at, "ts_recv": log.last_ts} | one)
        for at, one in enumerate(said)
    ]
    log.append({"reports": rows})
    log.close()


def left_of(folder: Path) -> tuple[Expected, ...]:
    """Orders without an end, once what a dead process wrote is sealed."""
    log = LiveLog.open(folder, SMALL)
    with LogReader(folder) as reader:
        log.append({"operator": left_off(reader, log.last_ts, "a test")})
    log.close()
    return past_of(folder).left


def ended(left: Expected) -> dict[str, Any]:
    """A report that an order is no more."""
    about: dict[str, Any] = {
        "account": left.account,
        "strategy": left.strategy,
        "venue": left.venue,
        "symbol": left.symbol,
        "side": left.side,
    }
    about |= {
        "start": left.name.start,
        "order": left.name.order,
        "client_order_id": f"01234567-{left.name.start}-{left.name.order}",
    }
    return about | {"event": "canceled", "source": "lookup"}


def one_leg_filled(folder: Path, **more: Any) -> tuple[Trading, SubmitOrder, SubmitOrder]:
    """A start that died when the first of two legs was filled; the second has ended since."""
    first = Trading(folder, 1, rows=(0, 5_000), **more)
    filled, other = (one for one in first.sent if isinstance(one, SubmitOrder))
    first.fill(filled, filled.qty_int)
    first.flush()
    first.log.abandon()
    [left] = left_of(folder)
    assert left.name.order == other.order
    between(folder, [ended(left)])
    return first, filled, other


def test_a_leg_that_a_dead_start_left_naked_is_hedged_by_the_next(tmp_path: Path) -> None:
    """It keeps still until the operator arms, counts as exposure at once, and has its end; replay proves both starts."""
    folder = tmp_path / "log"
    first, filled, _ = one_leg_filled(folder)
    second = Trading(folder, 2, rows=(5_000, 300), armed=False)
    [bundle] = second.carried
    base = bundle.flat[0]
    assert (bundle.start, bundle.bundle, bundle.strategy) == (1, 1, "eager")
    assert bundle.flows == {
        one: sum(row["delta"] for row in first.rows("ledger") if row["asset"] == one and row["order"]) for one in bundle.flows
    }
    execution = second.trading.assembly.engine.execution
    assert execution.exposure("eager", base) == (bundle.flows[base], bundle.flows[base])
    assert execution.open_bundles("eager") == 1
    assert not second.rows("commands")
    second.arm()
    [order] = [one for one in second.sent if isinstance(one, SubmitOrder)]
    assert (order.strategy, order.order) == ("eager", 1)
    assert (order.side == "sell") == (filled.side == "buy")
    second.fill(order, order.qty_int)
    second.flush()
    [*_, end] = [row["event"] for row in second.rows("bundles") if row["bundle"] == 1]
    left = [row for row in second.rows("residuals") if row["bundle"] == 1]
    assert end == "closed"
    assert {row["cause"] for row in left} <= {"dust"}
    second.end()
    third = Trading(folder, 3, rows=(5_300, 10))
    assert not third.carried
    assert execution.exposure("eager", base) == third.trading.assembly.engine.execution.exposure("eager", base)
    third.end()
    assert verify(folder, advance=silent).equal


@pytest.mark.parametrize("lacks", [{"fee": None}, {"fee_asset": None}, {"price": None}])
def test_a_fill_of_which_nobody_knows_what_it_changed_lets_nothing_go_on(tmp_path: Path, lacks: dict[str, None]) -> None:
    """Neither flows nor results could be told: the log names the fill, and no start follows from it."""
    folder = tmp_path / "log"
    _, _, other = one_leg_filled(folder)
    [left] = [one for one in past_of(folder).going_on.bundles[0].orders if one.order == other.order]  # type: ignore[union-attr]  # a start ran
    about = {"account": "main", "strategy": "eager", "venue": left.venue, "symbol": left.symbol, "side": left.side, "start": 1}
    about |= {"order": left.order, "client_order_id": left.client_order_id, "event": "fill", "source": "trades", "fill_id": "late"}
    between(folder, [about | {"price": left.price, "qty": left.qty, "fee": 0, "fee_asset": "USDT"} | lacks])
    with pytest.raises(LogError, match=f"the fill late of {left.client_order_id} made cannot be known"):
        past_of(folder)


def test_a_bundle_is_carried_over_starts_that_die_before_they_settle_it(tmp_path: Path) -> None:
    """Once in each, under its first name; at last it is settled."""
    folder = tmp_path / "log"
    one_leg_filled(folder)
    for number in (2, 3):
        start = Trading(folder, number, rows=(5_000, 50), armed=False)
        assert [(one.start, one.bundle) for one in start.carried] == [(1, 1)]
        start.log.abandon()
    last = Trading(folder, 4, rows=(5_000, 300), armed=False)
    last.arm()
    [order] = [one for one in last.sent if isinstance(one, SubmitOrder)]
    last.log.abandon()  # its fate is not known when the next start is opened
    [left] = left_of(folder)
    assert left.name == (4, order.order)
    between(folder, [ended(left)])
    again = Trading(folder, 5, rows=(5_000, 300), armed=False)
    [bundle] = again.carried
    assert [(one.start, one.order) for one in bundle.orders] == [(1, 1), (1, 2), (4, 1)]
    again.arm()
    assert len(again.sent) == 1
    again.end()
    assert verify(folder, advance=silent).equal


def test_a_fill_of_an_old_order_that_is_told_late_is_hedged(tmp_path: Path) -> None:
    """Before its bundle is settled and after that, and when the bundle had ended before the restart."""
    folder = tmp_path / "log"
    _, _, other = one_leg_filled(folder)
    second = Trading(folder, 2, rows=(5_000, 300), armed=False)
    second.number = 1  # the report is of the first start's order
    second.fill(other, other.qty_int // 2)
    second.flush()
    second.number = 2
    second.arm()
    [order] = second.sent
    assert isinstance(order, SubmitOrder)
    [lot] = [row["qty"] for row in second.rows("fills")]
    assert abs(second.carried[0].flows[second.carried[0].flat[0]]) - lot > 0
    second.fill(order, order.qty_int)
    second.flush()
    second.end()
    third = Trading(folder, 3, rows=(5_300, 300))
    third.sent.clear()
    third.number = 1
    third._fills = 50
    third.fill(other, other.qty_int - other.qty_int // 2)
    third.flush()
    events = [row["event"] for row in third.rows("bundles") if row["bundle"] == 1]
    assert events[:2] == ["kept", "reopened"]
    assert len(third.sent) == 1, "it is undone at once"
    third.end()
    assert verify(folder, advance=silent).equal


def test_all_bundles_that_ended_of_late_are_kept_in_mind(tmp_path: Path) -> None:
    """On paper as well: a fill may be told of any of them. The oldest are let go beyond a bound."""
    player = Player(tmp_path / "log")
    player.play(list(recorded(0, 6_000)))
    player.end()
    rows = [named(row) for row in player.outputs if row[0] == "bundles"]
    ended = {row["bundle"] for row in rows if row["event"] in ("closed", "held")}
    with LogReader(tmp_path / "log") as reader:
        (span,) = spans(reader)
        kept = Left(reader, span, until=reader.last_seq).bundles
    assert 16 < len(ended) <= len(kept) <= KEPT


def without(text: str, *sections: str) -> str:
    """A config without some of its sections."""
    parts = re.split(r"(?m)^(?=\[)", text)
    return "".join(part for part in parts if part.partition("]")[0].removeprefix("[") not in sections)


def strategy_gone(text: str, _: CarriedBundle) -> str:
    """The config has another strategy alone."""
    return without(text, "strategies.eager")


def account_changed(text: str, _: CarriedBundle) -> str:
    """The strategy trades on another account."""
    accounts = "".join(f"[accounts.other.{venue}]\nUSDT = 1000\n" for venue in ("alpha", "bravo", "charlie"))
    return text.replace("[strategies.eager]\n", f'{accounts}[strategies.eager]\naccount = "other"\n')


def symbol_not_allowed(text: str, _: CarriedBundle) -> str:
    """The strategy trades another coin by now."""
    return text.replace("[strategies.eager]\n", '[strategies.eager]\nsymbols = ["SOL/USDT"]\n')


def venue_not_allowed(text: str, bundle: CarriedBundle) -> str:
    """It trades on the venue of the naked leg alone."""
    venues = [one for one in ("alpha", "bravo", "charlie") if one != bundle.legs[-1].venue]
    return text.replace("[strategies.eager]\n", f"[strategies.eager]\nvenues = {venues}\n".replace("'", '"'))


def fee_unknown(text: str, bundle: CarriedBundle) -> str:
    """A venue left the config, and with it what an order costs there."""
    venue = bundle.legs[-1].venue
    return without(text, f"venues.{venue}", f"accounts.main.{venue}")


@pytest.mark.parametrize("change", [strategy_gone, account_changed, symbol_not_allowed, venue_not_allowed, fee_unknown])
def test_what_nobody_may_flatten_is_booked_and_shuts_its_venues(
    tmp_path: Path, change: Callable[[str, CarriedBundle], str]
) -> None:
    """A row of residuals says what is left, a refusal why; new bundles end on its venues until a person has looked; a later start knows all of it."""
    folder, changed = tmp_path / "log", tmp_path / "changed.toml"
    why = "not_allowed" if change.__name__.endswith("not_allowed") else change.__name__
    _, _, other = one_leg_filled(folder)
    going_on = past_of(folder).going_on
    assert going_on is not None
    [bundle] = going_on.bundles
    changed.write_text(change(EXPERIMENT.read_text(), bundle))
    second = Trading(folder, 2, rows=(5_000, 300), changes={"breakers.residual_held": "true"}, experiment=changed, armed=False)
    [row] = second.rows("residuals")
    asset = bundle.flat[0]
    assert (row["account"], row["strategy"]) == ("main", "eager")
    assert (row["asset"], row["qty"], row["cause"]) == (asset, bundle.flows[asset], "orphaned")
    assert [one["reason"] for one in second.rows("refusals") if one["strategy"] == "eager"] == [why]
    shut = {(one["account"], one["venue"], one["reason"]) for one in second.rows("breakers")}
    there = {one.venue for one in bundle.legs}
    assert shut == {("main", venue, "residual_held") for venue in there}
    assert [one["event"] for one in second.rows("bundles") if one["bundle"] == 1] == ["carried", "held"]
    second.arm()
    assert not [one for one in second.sent if one.strategy == "eager" and one.account == "main"]
    second.number = 1
    second.fill(other, other.qty_int // 2)  # of its order, told late: no bundle of this start hears of it
    second.flush()
    second.number = 2
    second.end()
    third = Trading(folder, 3, rows=(5_300, 300), armed=False)
    [again] = third.carried
    assert abs(again.flows[asset]) < abs(bundle.flows[asset])
    assert [one["cause"] for one in third.rows("residuals")] == ["late_fill"]
    third.arm()
    assert {one["venue"] for one in third.rows("breakers") if one["state"] == "open"} <= there
    assert [one.order for one in third.sent if one.strategy == "eager"] == [1], "the config is as it was: it is undone"
    third.end()
    assert verify(folder, advance=silent).equal


def test_one_whose_instrument_the_log_does_not_know_is_an_orphan() -> None:
    """No start of a whole log finds that, since instruments stay in it; nothing is guessed all the same."""
    legs = tuple(
        CarriedLeg(venue=venue, symbol="BTC/USD", side=side, price=money(100), qty=money(5))
        for venue, side in (("a", "buy"), ("z", "sell"))
    )
    trade = CarriedTrade(venue="z", symbol="BTC/USD", base="BTC", quote="USD", side="sell", size=money(5), value=money(500))
    bundle = CarriedBundle(
        start=2,
        bundle=7,
        account="main",
        strategy="s",
        state=CARRIED,
        sequence="simultaneous",
        flat=("BTC",),
        cycle=False,
        legs=legs,
        orders=(),
        flows={"BTC": -money(5), "USD": money(500)},
        traded=(trade,),
    )
    one = desk(bundles=(bundle,))
    [row] = one.drained("residuals")
    assert (row["qty"], row["cost"], row["cost_asset"], row["cause"]) == (-money(5), -money(500), "USD", "orphaned")
    assert [row["reason"] for row in one.drained("refusals")] == ["instrument_gone"]
    assert [(row["venue"], row["reason"]) for row in one.drained("breakers")] == [("a", "residual_held")]
    assert one.tell(*GOOD) == ["refuse breaker_open"]


def test_a_person_may_have_a_start_begin_flat(tmp_path: Path) -> None:
    """Who has undone it by hand: nothing is gone on with, and exposure counts from nothing."""
    folder = tmp_path / "log"
    one_leg_filled(folder)
    forgotten = {(one.strategy, one.asset): one.amount for one in forget_inventory(folder)}
    second = Trading(folder, 2, rows=(5_000, 300), changes={"breakers.residual_held": "true"}, armed=False)
    [bundle] = second.carried
    assert forgotten == {("eager", asset): amount for asset, amount in bundle.flows.items()}
    assert [one["cause"] for one in second.rows("residuals")] == ["orphaned"]
    assert not second.rows("breakers")
    assert second.trading.assembly.engine.execution.exposure("eager", bundle.flat[0]) == (0, 0)
    second.end()
    assert verify(folder, advance=silent).equal


def test_budgets_count_over_starts(tmp_path: Path) -> None:
    """What fills took of it in an earlier start is not there again."""
    folder = tmp_path / "log"
    one_leg_filled(folder)
    second = Trading(folder, 2, rows=(5_000, 10), armed=False)
    portfolio, flows = second.trading.assembly.engine.portfolio, second.carried[0].flows
    allotted = {"USDT": 300_000, "BTC": 3, "ETH": 60, "SOL": 1_200}
    for asset in flows.keys() & allotted.keys():
        assert portfolio.free_of_budget("eager", asset) == allotted[asset] * MONEY_ONE + flows[asset]
    second.end()


def test_nothing_starts_while_an_order_may_live_on_an_account_that_the_config_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session at exchanges, whose log says that an earlier start left one there: nobody could look it up. Without it the next start trades."""
    folder = tmp_path / "log"
    gone = Expected(
        name=OrderName(1, 77), account="gone", strategy="cross", venue="alpha", symbol="BTC/USDT", side="buy", qty=money(1)
    )

    async def story() -> None:
        async with site(tmp_path) as at:
            await traded(at, folder, filled(1))
            with monkeypatch.context() as patch:
                patch.setattr("xarb.live.session.past_of", lambda *log: past_of(*log)._replace(left=(gone,)))
                said = "order 77 of start 1 may be open at alpha still, and the config has no account gone there"
                with pytest.raises(Refused, match=said):
                    await traded(at, folder, filled(1))
            assert past_of(folder).next_start == 2, "no start was begun"
            await traded(at, folder, filled(1))

    asyncio.run(story())
    assert verify(folder, advance=silent).equal


def test_what_lost_too_much_before_a_restart_is_known_to_have(tmp_path: Path) -> None:
    """The start that saw it killed trading and died; the one behind the reset is killed by it no second time."""
    folder = tmp_path / "log"
    limit = {"strategies.eager.max_bundle_loss": "{ USDT = 5 }"}
    first = Trading(folder, 1, rows=(0, 5_000), changes=limit)
    filled, other = (one for one in first.sent if isinstance(one, SubmitOrder))
    assert first.trading.assembly.engine.execution.loss is None
    first.fill(filled, filled.qty_int, fee=6 * MONEY_ONE)
    first.flush()
    assert [row["event"] for row in first.rows("bundles")] == ["opened", "beyond"]
    assert first.trading.assembly.engine.execution.killed == "entries"
    first.log.abandon()
    [left] = left_of(folder)
    assert left.name.order == other.order
    between(folder, [ended(left)])
    second = Trading(folder, 2, rows=(5_000, 300), changes=limit)
    [bundle] = second.carried
    assert bundle.is_beyond
    assert second.trading.assembly.engine.execution.killed is None
    assert [row["event"] for row in second.rows("bundles")][:1] == ["carried"]
    assert not [row for row in second.rows("refusals") if row["reason"] == "loss"]
    second.end()
    assert verify(folder, advance=silent).equal
