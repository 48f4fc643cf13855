"""What must hold in every world, judged by the exchanges' own books and by the log on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from xarb.assembly import Assembly, decode_config
from xarb.log.batching import Batcher, slow_row
from xarb.log.journal import Walk, journals, read_opening
from xarb.log.packing import Row
from xarb.log.reader import LogReader
from xarb.model.columns import TABLES
from xarb.model.event import OutputRow, named
from xarb.model.units import MONEY_ONE, NANOS_PER_S
from xarb.replay import turn
from xarb.settings import money_of
from xarb.simulation.access import ACCOUNT
from xarb.simulation.exchange import Exchange, Made
from xarb.simulation.market import STRATEGY
from xarb.simulation.trader import Site, Trader
from xarb.starts import ground_of, read_start
from xarb.verify import verify

BASE: Final = "BTC"


class Violation(NamedTuple):
    """An oracle that was broken, and how."""

    oracle: str
    what: str


class Judge:
    """Watches a world while it happens and judges it at its end.

    Attributes:
        violations: what was found.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._config = site.resolved.strategies[STRATEGY]
        self._trader: Trader | None = None
        self._bundles: set[int] = set()  # of the process that lives
        self._sent: list[tuple[int, int]] = []  # time and bundle of each submit of it
        self._volume = 0
        self.commands: set[str] = set()  # client ids that the engine decided on
        self.violations: list[Violation] = []

    def say(self, oracle: str, what: str) -> None:
        """Something was broken."""
        self.violations.append(Violation(oracle, what))
        self._site.world.note(f"BROKEN {oracle}: {what}")

    def follow(self, trader: Trader) -> None:
        """A process begins: its engine starts anew."""
        self._trader, self._volume = trader, 0
        self._bundles, self._sent = set(), []

    # --- at each pass

    def outputs(self, rows: Sequence[OutputRow]) -> None:
        """Judge what was just decided, and how things stand now."""
        assert self._trader is not None, "outputs come of a process"
        for row in rows:
            self._site.world.note(f"{row}")
            if row[0] == "commands":
                self._command(named(row))
        self._exposure(self._trader)

    def _command(self, row: dict[str, Any]) -> None:
        if row["kind"] != "submit":
            return
        if row["client_order_id"] in self.commands:
            self.say("one order an intent", f"{row['client_order_id']} was decided on twice")
        self.commands.add(row["client_order_id"])
        bundle, config = row["bundle"], self._config
        ts = row["ts"]
        self._sent.append((ts, bundle))
        value = row["price_int"] * row["qty_int"] * 10 ** (18 - row["px_scale"] - row["qty_scale"])
        is_new = bundle not in self._bundles
        self._bundles.add(bundle)
        if row["purpose"] != "open":
            return
        self._volume += value
        if is_new and self._trader is not None and not self._trader.is_armed:
            self.say("armed", f"bundle {bundle} begins while disarmed")
        if value > money_of(config.max_notional_quote):
            self.say("max_notional", f"{row['client_order_id']} is worth {value / MONEY_ONE}")
        if is_new:
            recent = [one for one in self._sent if ts - one[0] < NANOS_PER_S and one[1] != bundle]
            if config.max_orders_per_s is not None and len(recent) + 1 > config.max_orders_per_s:
                self.say("orders_per_second", f"bundle {bundle} begins after {len(recent)} orders in a second")
        if config.daily_volume_quote is not None and self._volume > money_of(config.daily_volume_quote):
            self.say("daily_volume", f"{self._volume / MONEY_ONE} were opened")

    def _exposure(self, trader: Trader) -> None:
        """What truly happened lies within what the engine counts with, and that within the bound."""
        low, high = trader.assembly.engine.execution.exposure(STRATEGY, BASE)
        truth = self._true_flow(trader)
        if not low <= truth <= high:
            self.say("exposure", f"the true position {truth / MONEY_ONE} is not within {low / MONEY_ONE} and {high / MONEY_ONE}")
        bound = money_of(self._config.max_exposure[BASE])
        if abs(truth) > bound:
            self.say("max_exposure", f"the position is {truth / MONEY_ONE}, allowed are {bound / MONEY_ONE}")

    def _true_flow(self, trader: Trader) -> int:
        """What fills of this start's orders changed, but for those that the exchange denied when the order's end was told."""
        execution, flow = trader.assembly.engine.execution, 0
        for exchange in self._site.exchanges:
            for made in exchange.fills:
                if made.order.name.start != trader.number:
                    continue
                order = execution.order(made.order.name.order)
                if order.alive or made.said.fill_id in order.fill_ids or not _was_denied(made):
                    flow += made.changes[BASE]
        return flow

    # --- at the end

    def judge(self, traders: Sequence[Trader], exchanges: Sequence[Exchange]) -> None:
        """Judge a world that came to rest."""
        for exchange in exchanges:
            self._exchange(exchange, traders)
        last = traders[-1]
        if not last.ended:
            return
        for exchange in exchanges:
            self._balances(exchange, last)
        if living_orders(last):
            self.say("liveness", f"{living_orders(last)} orders have no end")
        found = self._log(last, is_alone=len(traders) == 1)
        self._reports(found, exchanges)

    def _exchange(self, exchange: Exchange, traders: Sequence[Trader]) -> None:
        for client_id in exchange.doubles:
            self.say("one order an intent", f"{exchange.name} got {client_id} twice")
        for trader in traders:
            for client_id, times in trader.accesses[exchange.name].submits.items():
                if times > 1:
                    self.say("one order an intent", f"{client_id} was sent {times} times to {exchange.name}")
        for client_id in exchange.short:
            self.say("reservations", f"money lacked for {client_id} at {exchange.name}")

    def _balances(self, exchange: Exchange, last: Trader) -> None:
        """The exchange has what the engine says, and what it cannot know: orders of earlier starts after the opening."""
        known, locked = last.opened[exchange.name]
        for asset, truth in exchange.balances.items():
            ours = last.balances.get((ACCOUNT, exchange.name, asset), 0) + locked[asset]
            ours += sum(made.changes.get(asset, 0) for made in exchange.fills[known:] if made.order.name.start != last.number)
            if ours != truth:
                self.say("balances", f"{asset} at {exchange.name}: {truth / MONEY_ONE} there, {ours / MONEY_ONE} here")

    def _reports(self, found: dict[str, list[dict[str, Any]]], exchanges: Sequence[Exchange]) -> None:
        """Every fill of ours is told exactly once, and every order that arrived was decided on in the log."""
        told: dict[str, int] = {}
        for row in found.get("reports", ()):
            if row["event"] == "fill":
                told[row["fill_id"]] = told.get(row["fill_id"], 0) + 1
        decided = {row["client_order_id"] for row in found.get("commands", ()) if row["kind"] == "submit"}
        for exchange in exchanges:
            for made in exchange.fills:
                if told.get(made.said.fill_id, 0) != 1:
                    self.say(
                        "fills", f"{made.said.fill_id} of {made.order.client_id} was told {told.get(made.said.fill_id, 0)} times"
                    )
            for client_id in exchange.orders:
                if client_id not in decided:
                    self.say("cause", f"{client_id} is at {exchange.name} and not in the log")

    # --- the log

    def _log(self, last: Trader, *, is_alone: bool) -> dict[str, list[dict[str, Any]]]:
        """What stands in the log, once its proof by replay was tried."""
        site = self._site
        if is_alone:
            last.log.sync()
            return self._replay_journal()
        last.log.close()
        proof = verify(site.folder, advance=_silent)
        if not proof.equal:
            self.say("replay", f"the sealed log does not come again: {proof.tables[-1].rows}")
        return read_rows(site)

    def _replay_journal(self) -> dict[str, list[dict[str, Any]]]:
        """Decide again on what the journal holds, all at once, and compare."""
        inputs, outputs = journal_rows(self._site)
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
        found = {kind: [slow_row(kind, row).values for row in inputs.get(kind, ())] for kind in ("reports",)}
        return found | {"commands": [named(row) for row in outputs if row[0] == "commands"]}


def journal_rows(site: Site) -> tuple[dict[str, list[Row]], list[OutputRow]]:
    """Inputs by kind and outputs in their order, as the journals of a log hold them."""
    inputs: dict[str, list[Row]] = {}
    outputs: list[OutputRow] = []
    for _, path in journals(site.folder):
        opening, start = read_opening(path)
        for frame in Walk(path.read_bytes()[start:], opening, start=start):
            for kind, rows in frame.rows().items():
                if TABLES[kind].is_input:
                    inputs.setdefault(kind, []).extend(rows)
                else:
                    outputs += [(kind, *row) for row in rows]
    outputs.sort(key=lambda row: row[1:3])
    return inputs, outputs


def read_rows(site: Site) -> dict[str, list[dict[str, Any]]]:
    """Reports and commands of a sealed log."""
    with LogReader(site.folder) as reader:
        commands = [dict(row) for _, row in reader.outputs(kinds=("commands",))]
        return {"reports": [dict(row) for row in reader.rows("reports")], "commands": commands}


def living_orders(trader: Trader) -> int:
    """Orders of the process's engine that have no end."""
    execution = trader.assembly.engine.execution
    return sum(execution.order(number).alive for number in range(1, execution.orders + 1))


def _was_denied(made: Made) -> bool:
    """Whether the exchange told of a fill later than it happened, or of the whole order."""
    return made.order.is_revived or made.told_at > made.at or made.order.visible_at > made.at


def _silent(done: int, total: int, note: str = "") -> None:
    del done, total, note
