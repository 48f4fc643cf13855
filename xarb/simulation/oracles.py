"""What must hold in every world, judged by the exchanges' own books and by the log on the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from xarb.assembly import Assembly
from xarb.assembly.resolved import decode_config
from xarb.config.strategies import StrategyConfig
from xarb.engine.discrepancy import Discrepancy
from xarb.engine.others import Strangers
from xarb.errors import InvariantBroken, LogError
from xarb.log.batching import Batcher, slow_row
from xarb.log.checkpoints import checkpoint_paths
from xarb.model.event import OutputRow, named
from xarb.model.order import CANCEL, ORDER_TERMINAL, STOP, UNWIND
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S
from xarb.replay import turn
from xarb.settings import money_of
from xarb.simulation.access import ACCOUNT
from xarb.simulation.audit import Audit
from xarb.simulation.endings import judge_endings
from xarb.simulation.exchange import Exchange
from xarb.simulation.log import Found, found_in, journal_rows, read_log
from xarb.simulation.others import judge_others
from xarb.simulation.streams import judge_losses
from xarb.simulation.trader import Site, Trader
from xarb.starts import ground_of, read_start
from xarb.venues.orderids import OrderName
from xarb.verbs.verify import verify

BASE: Final = "BTC"
_STILL: Final = ("alone", "armed", "checkpoint", "failure", "killed", "replay", "sealing")  # whosever an order is
_HEARD_NS: Final = 600 * NANOS_PER_MS  # by when a process has heard what is listed, beyond the time between two questions
_ENDS: Final = ("canceled", "expired", "rejected", "not_sent")


class Violation(NamedTuple):
    """An oracle that was broken, and how."""

    oracle: str
    what: str


class Known(msgspec.Struct):
    """An order as the output rows tell it: its strategy, venue, bundle, leg and purpose, its state and since when, and its fills.

    `name` is its start and number there, `way` what all of it changes of the base asset, signed money.
    """

    strategy: str
    venue: str
    bundle: int
    leg: int
    purpose: str
    name: tuple[int, int]
    way: int
    state: str = "pending"
    since: int = 0
    fills: list[str] = []

    @property
    def is_alive(self) -> bool:
        """Whether it may fill in the ordinary course."""
        return self.state not in ORDER_TERMINAL


class Desk:
    """What one strategy did, and what it may do."""

    def __init__(self, config: StrategyConfig) -> None:
        self.config = config
        self.notional, self.bound = money_of(config.max_notional_quote), money_of(config.max_exposure[BASE])
        self.bundles: set[int] = set()
        self.sent: list[int] = []  # times of submits


class Judge:
    """Watches a world while it happens and judges it at its end.

    Attributes:
        violations: what was found. is_killed: a person killed the trading, the log has that for sure, and nobody took it back.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._trader: Trader | None = None
        self._orders: dict[int, Known] = {}  # of the process that lives
        self._desks: dict[str, Desk] = {}
        self._breakers: dict[str, str] = {}  # by venue, the state as its rows tell it
        self._probes: dict[str, int] = {}  # by venue, the last bundle that began while it was half open
        self._residuals: dict[
            int, tuple[int, int]
        ] = {}  # by bundle without an end: since when it is unbalanced (0: not), by how much
        self._booked: dict[tuple[str, str], int] = {}  # by venue and asset, adjustments of the process
        self._canceled: set[int] = set()  # orders of the process that a cancel was decided for
        self._commands: set[str] = set()  # client ids that an engine decided on
        self._owners: dict[tuple[int, int], str] = {}  # strategy by start and order
        self._told: set[str] = set()  # fills that any engine knew of
        self._applied: set[str] = set()  # fills that this process booked
        self.violations: list[Violation] = []
        self.is_killed = self._was_distrusted = False
        self.whose = ""  # said before what was broken
        self.begins: Callable[[int, int], object] = _alone  # called where a bundle begins: its number, and when, Unix ns

    def say(self, oracle: str, what: str) -> None:
        """Something was broken; not where two orders of one name were on their way at once, of which nobody knows for sure whose is whose."""
        if oracle not in _STILL and any(one.is_crossed for exchange in self._site.exchanges for one in exchange.sides):
            return
        what = f"{self.whose}{what}"
        self.violations.append(Violation(oracle, what))
        self._site.world.note(f"BROKEN {oracle}: {what}")

    def follow(self, trader: Trader) -> None:
        """A process begins: its engine starts anew."""
        self._trader, self._orders, self._breakers, self._probes, self._booked = trader, {}, {}, {}, {}
        self._residuals, self._canceled = {}, set()
        self._desks = {name: Desk(config) for name, config in self._site.resolved.strategies.items()}
        self._applied = set()

    def living(self) -> int:
        """Orders of the process that have no end."""
        return sum(one.is_alive for one in self._orders.values())

    # --- at each pass

    def outputs(self, rows: Sequence[OutputRow]) -> None:
        """Judge what was just decided, and how things stand now."""
        trader = self._trader
        assert trader is not None, "outputs come of a process"
        moved = False
        for row in rows:
            self._site.world.note(f"{row}")
            if row[0] == "breakers":
                values = named(row)
                self._breakers[values["venue"]] = values["state"]
                self._probes.pop(values["venue"], None)
            elif row[0] == "ledger":
                values = named(row)
                if values["cause"] in ("adjustment", "foreign", "transfer"):
                    key = (values["venue"], values["asset"])
                    self._booked[key] = self._booked.get(key, 0) + values["delta"]
            elif row[0] == "bundles":
                self._taken_up(trader, named(row))
                self._unbalanced(named(row))
                moved = True
            elif row[0] in ("commands", "orders", "fills"):
                values, moved = named(row), True
                if row[0] == "commands":
                    self._command(trader, values)
                elif row[0] == "orders":
                    one = self._orders[values["order"]]
                    one.state, one.since = values["state"], values["ts"]
                else:
                    since, left = self._residuals.get(values["bundle"], (0, 0))
                    changed = values["qty"] if values["side"] == "buy" else -values["qty"]
                    changed -= values["fee"] if values["fee_asset"] == BASE else 0
                    self._residuals[values["bundle"]] = (since, left + changed)
                    self._orders[values["order"]].fills.append(values["fill_id"])
                    self._told.add(values["fill_id"])
                    self._applied.add(values["fill_id"])
        if moved:
            self._exposure(trader)
        self._living_on(trader)
        if rows and trader.stands(rows[-1][1])[1] is None:
            self._runs_out(named(rows[-1])["ts"])

    def _unbalanced(self, row: dict[str, Any]) -> None:
        """A bundle begins, is unbalanced, or ends."""
        since, left = self._residuals.get(row["bundle"], (0, 0))
        if row["event"] != "beyond":  # what it lost says nothing of how it stands
            since = row["ts"] if row["event"] == "unbalanced" else 0
        self._residuals[row["bundle"]] = (since, left)

    def _taken_up(self, trader: Trader, row: dict[str, Any]) -> None:
        """A bundle of an earlier start, with its orders under new numbers."""
        if row["event"] in ("carried", "kept"):
            bundle = trader.start.opening.bundles[row["bundle"] - 1]
            old = {(one.start, one.order): one for one in bundle.orders}
            for here, start, order in msgspec.json.decode(row["plan"])["orders"]:
                one = old[start, order]
                way = one.qty if one.side == "buy" else -one.qty
                self._orders[here] = Known(
                    bundle.strategy, one.venue, row["bundle"], one.leg, "carried", (start, order), way, one.state
                )

    def _command(self, trader: Trader, row: dict[str, Any]) -> None:
        if row["kind"] != "submit":
            self._canceled.add(row["order"])
            return
        self._listed(trader, row)
        name, bundle, leg, purpose = row["client_order_id"], row["bundle"], row["leg"], row["purpose"]
        desk = self._desks[row["strategy"]]
        if name in self._commands:
            self.say("one order an intent", f"{name} was decided on twice")
        self._commands.add(name)
        is_armed, killed = trader.stands(row["after_seq"])
        if killed in (CANCEL, STOP) or (killed == UNWIND and purpose != "unwind"):
            self.say("killed", f"{name} is sent to {purpose} after a kill to {killed}")
        mine = [one for one in self._orders.values() if one.bundle == bundle]
        if purpose == "open":
            is_piece = desk.config.sequence == "hard_leg_first" and leg > 0
            if not is_piece and any((one.leg, one.purpose) == (leg, purpose) for one in mine):
                self.say("one order an intent", f"{name} is leg {leg} of bundle {bundle}, which was sent before")
            if not is_piece:
                self._entered(row)
            self._opened(desk, row, is_armed=is_armed)
        else:
            self._flattened(desk, row, [one for one in mine if one.is_alive])
        self._owners[trader.number, row["order"]] = row["strategy"]
        way = row["qty_int"] * 10 ** (MONEY_SCALE - row["qty_scale"]) * (1 if row["side"] == "buy" else -1)
        here = (trader.number, row["order"])
        self._orders[row["order"]] = Known(row["strategy"], row["venue"], bundle, leg, purpose, here, way)
        desk.sent.append(row["ts"])

    def _listed(self, trader: Trader, row: dict[str, Any]) -> None:
        """An order is one that its exchange takes, by what it last said of the instrument."""
        terms, name = trader.terms(row["venue"], row["after_seq"]), row["client_order_id"]
        if not terms.active:
            self.say("halted", f"{name} goes to {row['venue']}, where nothing is traded")
        elif row["price_int"] % (terms.tick_int or 1):
            self.say("halted", f"{name} at {row['price_int']} is off the step of {terms.tick_int} at {row['venue']}")
        elif row["qty_int"] % (terms.lot_int or 1):
            self.say("halted", f"{name} for {row['qty_int']} is off the lot of {terms.lot_int} at {row['venue']}")

    def _living_on(self, trader: Trader) -> None:
        """What lives where nothing is traded any more is canceled at once."""
        for name in trader.halted():
            for number, one in self._orders.items():
                if one.venue == name and one.is_alive and one.purpose != "carried" and number not in self._canceled:
                    self.say("halted", f"order {number} lives on at {name}, where nothing is traded")

    def _flattened(self, desk: Desk, row: dict[str, Any], living: Sequence[Known]) -> None:
        """An order that flattens: beside it only orders live that are of unknown fate for so long, on other legs, which it undoes."""
        name, wait = row["client_order_id"], int(desk.config.unknown_wait_ms) * NANOS_PER_MS
        for one in living:
            if not wait or one.state != "unknown" or row["ts"] - one.since < wait:
                self.say("one order an intent", f"{name} flattens bundle {one.bundle} while another order of it lives")
            elif row["purpose"] != "unwind" or one.leg == row["leg"]:
                self.say("one order an intent", f"{name} does again what an order of unknown fate may do")

    def _entered(self, row: dict[str, Any]) -> None:
        """A bundle brings an order to a venue: its breaker lets it, and few enough orders there are of unknown fate."""
        venue, bundle, limits = row["venue"], row["bundle"], self._site.resolved.breakers
        exchange = next(one for one in self._site.exchanges if one.name == venue)
        if exchange.countdown_ms and exchange.runs_out_at is None:
            self.say("countdown", f"bundle {bundle} begins at {venue}, where no countdown runs")
        if self._breakers.get(venue) == "open":
            self.say("breaker", f"bundle {bundle} begins at {venue}, which gets none")
        elif self._breakers.get(venue) == "half_open":
            before = self._probes.setdefault(venue, bundle)
            if before != bundle and any(one.is_alive for one in self._orders.values() if one.bundle == before):
                self.say("breaker", f"bundle {bundle} begins at {venue}, where bundle {before} is tried alone")
            self._probes[venue] = bundle
        unknown = sum(one.state == "unknown" for one in self._orders.values() if one.venue == venue)
        if unknown:
            self.say("order_unknown", f"bundle {bundle} begins at {venue}, where the fate of {unknown} orders is unknown")
        if limits.unknown and unknown >= limits.unknown:
            self.say("breaker", f"bundle {bundle} begins at {venue}, where the fate of {unknown} orders is unknown")

    def _runs_out(self, now: int) -> None:
        """Where the time of a residual ran out while nothing but orders of unknown fate kept it, its venues get no bundle."""
        if self._site.resolved.breakers.residual_held is False:
            return
        for bundle, (since, left) in self._residuals.items():
            mine = [one for one in self._orders.values() if one.bundle == bundle]
            if not since or not left or {one.state for one in mine if one.is_alive} != {"unknown"} or mine[0].purpose == "carried":
                continue
            ttl_ns = int(self._desks[mine[0].strategy].config.residual_ttl_ms) * NANOS_PER_MS
            if ttl_ns and now > max(since + ttl_ns, *(one.since for one in mine)):
                for venue in {one.venue for one in mine if self._breakers.get(one.venue) != "open"}:
                    self.say("residual_ttl", f"bundle {bundle} has a residual for too long, and {venue} is open to new ones")

    def _opened(self, desk: Desk, row: dict[str, Any], *, is_armed: bool) -> None:
        """An order that opens: the limits, reckoned anew."""
        bundle, ts, config = row["bundle"], row["ts"], desk.config
        value = row["price_int"] * row["qty_int"] * 10 ** (MONEY_SCALE - row["px_scale"] - row["qty_scale"])
        if value > desk.notional:
            self.say("max_notional", f"{row['client_order_id']} is worth {value / MONEY_ONE}")
        if bundle in desk.bundles:
            return
        desk.bundles.add(bundle)
        self.begins(bundle, ts)
        if not is_armed:
            self.say("armed", f"bundle {bundle} begins while disarmed")
        recent = sum(ts - one < NANOS_PER_S for one in desk.sent)
        if config.max_orders_per_s is not None and recent + 2 > config.max_orders_per_s:
            self.say("orders_per_second", f"bundle {bundle} of two legs begins after {recent} orders in a second")
        living = [one.bundle for one in self._orders.values() if one.is_alive and one.strategy == row["strategy"]]
        if len({bundle, *living}) > config.max_open_bundles:
            self.say("max_open_bundles", f"bundle {bundle} begins while orders of {living} live")

    def _exposure(self, trader: Trader) -> None:
        """What truly happened lies within what the engine counts with, and within the bound whatever of its orders still fills."""
        is_denied = any(one.has_denied for one in self._site.exchanges)
        for name, desk in self._desks.items():
            low, high = trader.assembly.engine.execution.exposure(name, BASE)
            truth = self._true_flow(trader, name)
            if not low <= truth <= high:
                self.say("exposure", f"{name}: {truth / MONEY_ONE} in truth is not within {low / MONEY_ONE} and {high / MONEY_ONE}")
            least, most = (truth + way for way in self._in_flight(name))
            if not -desk.bound <= least <= most <= desk.bound and not is_denied:
                what = f"the position of {truth / MONEY_ONE} may come to {least / MONEY_ONE} and {most / MONEY_ONE}"
                self.say("max_exposure", f"{name}: {what}, allowed are {desk.bound / MONEY_ONE}")

    def _in_flight(self, strategy: str) -> tuple[int, int]:
        """What a strategy's orders may still take and bring of the base asset: all that no end was told of, less what truly filled."""
        filled = {one.name: one.filled * exchange.lot for exchange in self._site.exchanges for one in exchange.orders.values()}
        down = up = 0
        for order in self._orders.values():
            if order.is_alive and order.strategy == strategy:
                left = abs(order.way) - filled.get(OrderName(*order.name), 0)
                down, up = (down - left, up) if order.way < 0 else (down, up + left)
        return down, up

    def _true_flow(self, trader: Trader, strategy: str) -> int:
        """What fills of all starts' orders changed, but for those that the exchange denied when the order's end was told."""
        flow, opening = 0, trader.start.opening
        told = self._told | {fill for bundle in opening.bundles for order in bundle.orders for fill in order.fill_ids}
        for exchange in self._site.exchanges:
            for made in exchange.fills:
                name = made.order.name
                if self._owners.get(name) != strategy:
                    continue
                is_alive = name.start == trader.number and self._orders[name.order].is_alive
                if is_alive or not made.is_denied or made.said.fill_id in told:
                    flow += made.changes[BASE]
        return flow

    def restarted(self, trader: Trader) -> None:
        """A process is about to arm: nobody killed it, and what earlier ones left open, and could be seen and canceled, is open no more."""
        if self.is_killed:
            self.say("killed", f"start {trader.number} arms although trading was killed and nobody took that back")
        for exchange in self._site.exchanges:
            for order in exchange.orders.values():
                seen_ns = trader.began - max(order.arrived_at, order.visible_at)
                if order.state == "open" and order.name.start < trader.number and seen_ns > 0:
                    self.say("left", f"{order.client_id} of an earlier start is open at {exchange.name}")

    def gave_up(self, trader: Trader) -> None:
        """A process whose log failed has done what it can: a cancel was asked for of whatever is open, and nothing more was sent."""
        for exchange in self._site.exchanges:
            access = trader.accesses[exchange.name]
            for client_id, left_at in access.left_at.items():
                order = exchange.orders.get(client_id)
                if order is not None and order.state == "open" and access.cancels.get(client_id, -1) < trader.failed_at:
                    self.say("unlogged", f"{client_id} is open at {exchange.name}, and the process that failed asked for no cancel")
                if left_at > trader.failed_at:
                    self.say("unlogged", f"{client_id} left for {exchange.name} after the log had failed")

    def ran_out(self, exchange: Exchange) -> None:
        """An exchange heard nothing for so long that it canceled everything: nobody was there, or requests failed, or the disk held us up."""
        trader = self._trader
        if trader is None or not trader.listens or self._site.disk.is_slow:
            return
        failed_at = trader.accesses[exchange.name].count_failed_at
        if failed_at < self._site.world.now - exchange.countdown_ms * NANOS_PER_MS:
            self.say("countdown", f"it ran out at {exchange.name} although every request came through")

    # --- at the end

    def judge(self, traders: Sequence[Trader], exchanges: Sequence[Exchange]) -> None:
        """Judge a world that came to rest."""
        for trader in traders:
            stats = trader.log.stats
            if stats.seal_error or stats.checkpoint_error:
                self.say("sealing", f"start {trader.number}: {stats.seal_error or stats.checkpoint_error}")
        for exchange in exchanges:
            self._exchange(exchange, traders)
        last = traders[-1]
        if not last.ended:
            return
        for exchange in exchanges:
            self._balances(exchange, last)
            if exchange.runs_out_at is not None:
                self.say("countdown", f"it runs at {exchange.name} after an ordered stop")
        if self.living() > last.left_to_a_person:
            self.say("liveness", f"{self.living()} orders have no end")
        try:
            found = self._log(
                last, is_alone=len(traders) == 1 and not checkpoint_paths(self._site.folder) and last.log.sealed[0] == 0
            )
        except (InvariantBroken, LogError) as error:
            self.say("replay", f"the log cannot be decided on again: {error}")
        else:
            self._reports(found, exchanges)
            self._adjustments(found, traders)
            self._carried(found, last)
            judge_losses(found, self.say)
            judge_others(self._site, found, self.say, since=next(one.began for one in traders if one.is_ready))
            if last.open_bundles() == 0:
                judge_endings(found, self.say)
            Audit(self._site, self.say).go(found, is_over=last.open_bundles() == 0)

    def _exchange(self, exchange: Exchange, traders: Sequence[Trader]) -> None:
        for client_id in exchange.doubles:
            self.say("one order an intent", f"{exchange.name} got {client_id} twice")
        for trader in traders:
            access = trader.accesses[exchange.name]
            for client_id, times in access.submits.items():
                if times > 1:
                    self.say("one order an intent", f"{client_id} was sent {times} times to {exchange.name}")
            known_ns = self._site.asked_ms * NANOS_PER_MS + _HEARD_NS
            for client_id, age in access.unfit:
                if age > known_ns and not access.is_mute and not self._site.disk.is_slow:
                    self.say("halted", f"{client_id} left for {exchange.name} against what that has listed for {age} ns")
            most_ms = self._site.max_send_lag_ms
            for client_id, age in access.ages.items():
                if most_ms is not None and age > most_ms * NANOS_PER_MS:
                    self.say("max_send_lag", f"{client_id} left {age} ns after it was decided on, {most_ms} ms are allowed")
        for client_id in exchange.astray - exchange.sent:  # one that has the name of ours may be canceled by that
            self.say("others", f"{client_id} of somebody else was canceled at {exchange.name}")
        for client_id in exchange.short:
            self.say("reservations", f"money lacked for {client_id} at {exchange.name}")

    def _balances(self, exchange: Exchange, last: Trader) -> None:
        """The exchange has what the engine says, and what it cannot know: orders of earlier starts after the opening."""
        opened, opening = (
            last.opened[exchange.name],
            {place[2]: amount for place, amount in last.opening.items() if place[1] == exchange.name},
        )
        for asset, truth in exchange.balances.items():
            unknown = opened.total.get(asset, 0) - opened.locked.get(asset, 0) - opening.get(asset, 0)
            unknown += sum(
                made.changes.get(asset, 0)
                for made in exchange.fills[opened.fills :]
                if made.order.name.start != last.number and made.said.fill_id not in self._applied
            )
            unknown += sum(one.amount for one in exchange.moved[opened.moved :] if one.asset == asset)
            unknown += sum(one.changes.get(asset, 0) for one in exchange.foreign[opened.foreign :])
            booked = self._booked.get((exchange.name, asset), 0)
            ours = last.balances.get((ACCOUNT, exchange.name, asset), 0) + opened.locked.get(asset, 0) - booked
            if ours + unknown != truth:
                self.say("balances", f"{asset} at {exchange.name}: {truth / MONEY_ONE} there, {(ours + unknown) / MONEY_ONE} here")
            if booked != unknown and not last.distrusts and last.killed != STOP:
                self.say(
                    "adjustments", f"{asset} at {exchange.name}: {unknown / MONEY_ONE} is to be booked, {booked / MONEY_ONE} is"
                )

    def _reports(self, found: Found, exchanges: Sequence[Exchange]) -> None:
        """Every fill of ours is told exactly once, and every order that arrived was decided on in the log."""
        told: dict[str, int] = {}
        ended, late = set[str](), list[str]()
        for row in found.get("reports", ()):
            if row["event"] == "fill":
                told[row["fill_id"]] = told.get(row["fill_id"], 0) + 1
                if row["client_order_id"] in ended:
                    late.append(row["fill_id"])
            elif row["event"] in _ENDS:
                ended.add(row["client_order_id"])
        decided = {row["client_order_id"] for row in found.get("commands", ()) if row["kind"] == "submit"}
        for exchange in exchanges:
            for made in exchange.fills:
                if made.said.fill_id in late and not made.is_denied:
                    self.say("fills", f"{made.said.fill_id} is told after the end of {made.order.client_id}")
                if told.get(made.said.fill_id, 0) != 1:
                    self.say(
                        "fills", f"{made.said.fill_id} of {made.order.client_id} was told {told.get(made.said.fill_id, 0)} times"
                    )
            for client_id in exchange.orders:
                if client_id not in decided:
                    self.say("cause", f"{client_id} is at {exchange.name} and not in the log")

    def distrusted(self, found: Discrepancy | Strangers) -> None:
        """An engine found other money than it may book: some of that has gone or come. How much others trade is judged by the log.

        A fill of others in the first seconds of a start explains a difference to that start alone.
        """
        if isinstance(found, Strangers):
            return
        self._was_distrusted = True
        exchanges = self._site.exchanges
        is_later = self._trader is not None and self._trader.number > 1
        if any(one.is_large for exchange in exchanges for one in exchange.moved):
            return
        if not any(one.has_denied or one.has_hidden or (is_later and one.has_others) for one in exchanges):
            self.say("adjustments", "new bundles end for a difference that nobody made")

    def _adjustments(self, found: Found, traders: Sequence[Trader]) -> None:
        """What was booked over all starts is what moved without a word, where all of it was small and no exchange ever denied a fill."""
        exchanges, last = self._site.exchanges, traders[-1]
        opened = next(one.opened for one in traders if one.opened)
        moved = [(exchange.name, one) for exchange in exchanges for one in exchange.moved[opened[exchange.name].moved :]]
        if any(one.has_others for one in exchanges):
            return  # what they did explains differences, and is adjusted or booked; the balances say whether all was
        places = [(venue, one.asset) for venue, one in moved]
        if not self._was_distrusted and any(one.is_large and places.count((venue, one.asset)) == 1 for venue, one in moved):
            self.say("adjustments", "much money moved without a word, and new bundles never ended")
        if any(one.is_large for _, one in moved) or any(one.has_denied for one in exchanges) or last.killed == STOP:
            return
        sums: dict[tuple[str, str], int] = {}
        for venue, one in moved:
            sums[venue, one.asset] = sums.get((venue, one.asset), 0) + one.amount
        for row in (row for row in found.get("ledger", ()) if row["cause"] == "adjustment"):
            sums[row["venue"], row["asset"]] = sums.get((row["venue"], row["asset"]), 0) - row["delta"]
        for (venue, asset), left in sorted(sums.items()):
            if left:
                self.say("adjustments", f"{asset} at {venue}: {left / MONEY_ONE} moved and was not booked, in all starts")

    def _carried(self, found: Found, last: Trader) -> None:
        """What a strategy made is what the fills of all starts made that the last one knew when it began, and its own."""
        told_seq = last.start.opening.told_seq
        owners = {row["client_order_id"]: row["strategy"] for row in found.get("commands", ()) if row["kind"] == "submit"}
        known = {row["fill_id"] for row in found.get("reports", ()) if row["event"] == "fill" and row["seq"] <= told_seq}
        known |= self._applied
        for one in last.start.opening.results:
            ours, truth = {**one.flows}, dict[str, int]()
            for asset, flow in last.assembly.engine.portfolio.changes(one.strategy):
                ours[asset] = ours.get(asset, 0) + flow
            for made in (made for exchange in self._site.exchanges for made in exchange.fills):
                is_mine = made.order.name.start == last.number or made.said.fill_id in known
                if is_mine and owners.get(made.order.client_id) == one.strategy:
                    for asset, change in made.changes.items():
                        truth[asset] = truth.get(asset, 0) + change
            if {asset: flow for asset, flow in ours.items() if flow} != {asset: flow for asset, flow in truth.items() if flow}:
                self.say("carried", f"{one.strategy} made {truth} over all starts, {ours} is reckoned with")

    # --- the log

    def _log(self, last: Trader, *, is_alone: bool) -> Found:
        """What stands in the log, once its proof by replay was tried."""
        site = self._site
        if is_alone:
            last.log.sync()
            return self._replay_journal()
        last.log.close()
        proof = verify(site.folder, advance=_silent)
        if not proof.equal:
            self.say("replay", f"the sealed log does not come again: {proof.tables[-1].rows}")
        for path in checkpoint_paths(site.folder):
            behind = verify(site.folder, since=f"{int(path.stem)}", advance=_silent)
            if not behind.equal:
                self.say("checkpoint", f"what follows {path.name} does not come again: {behind.tables[-1].rows}")
        return read_log(site.folder)

    def _replay_journal(self) -> Found:
        """Decide again on what the journal holds, all at once, and compare."""
        inputs, outputs = journal_rows(self._site.folder)
        first = inputs["starts"][0][0]
        start = read_start(slow_row("starts", inputs["starts"][0]).values)
        last = max(row[0] for rows in inputs.values() for row in rows)
        last = next((row[0] for row in inputs["operator"] if slow_row("operator", row).values["action"] == "ended"), last)
        mine = {kind: [row for row in rows if first <= row[0] <= last] for kind, rows in inputs.items()}
        mine = {kind: rows for kind, rows in mine.items() if rows}
        instruments = [one.instrument for one in self._site.exchanges]
        connections = 1 + max(row[2] for row in inputs["connections"])
        assembly = Assembly(decode_config(start.config), ground_of(start, instruments, connections))
        turn(assembly, Batcher({(one.venue, one.symbol): at for at, one in enumerate(instruments)}).batch(mine))
        again = assembly.engine.outputs.drain()
        if again != outputs:
            at = next(
                (at for at, pair in enumerate(zip(again, outputs, strict=False)) if pair[0] != pair[1]),
                min(len(again), len(outputs)),
            )
            self.say("replay", f"row {at} of {len(outputs)}: {outputs[at : at + 1]} comes again as {again[at : at + 1]}")
        return found_in(inputs, outputs)


def _alone(bundle: int, ts: int) -> None:
    """Nobody else is there."""
    del bundle, ts


def _silent(done: int, total: int, note: str = "") -> None:
    del done, total, note
