"""The inventory verb: where an account's assets lie, where they should, and what lies elsewhere is worth. From a log or run alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from xarb.config.inventory import InventoryConfig
from xarb.errors import ConfigError
from xarb.inquiry.decided import Decided, open_decided, starts_in
from xarb.inquiry.sections import Section, amount, moment_of
from xarb.log.manifest import Manifest
from xarb.model.targets import band_of, drifts
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S
from xarb.settings import money_of, ratio_of
from xarb.sql.connection import open_query
from xarb.sql.pick import Condition, latest
from xarb.starts import LIVE

LOOK_BACK_NS: Final = 600 * NANOS_PER_S  # how far back prices are looked for at first
_DONE: Final = ("ok", "failed", "canceled")  # ccxt's words for a transfer that changes no more
_PRICES: Final = {
    "quotes": ("bid_int", "ask_int"),
    "books": ("bid_00_int", "ask_00_int"),
    "trades": ("price_int", "price_int"),
}


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of one account, by venue. Amounts are money.

    Attributes:
        account: the account.
        asset: the asset.
        balances: by venue, as the ledger has them; venues with a share are among them.
        free: by venue what can be withdrawn: in real trading what the venue says, and never more than the balance.
        shares: by venue, at 18 decimals; empty without targets.
        band: how far a balance may lie from its target.
        currency: in which it is valued; empty where nothing prices it.
        mark: money in that currency for one unit, None where nothing prices it.
    """

    account: str
    asset: str
    balances: Mapping[str, int]
    free: Mapping[str, int]
    shares: Mapping[str, int]
    band: int
    currency: str
    mark: int | None

    @property
    def drifts(self) -> dict[str, int]:
        """By venue with a share the balance less its target."""
        return drifts(self.balances, self.shares)

    def worth(self, value: int | None) -> int | None:
        """An amount of the asset in `currency`, rounded down."""
        return None if self.mark is None or value is None else value * self.mark // MONEY_ONE


class Inventory(NamedTuple):
    """What lies where.

    Attributes:
        title: of what, as of when.
        inventory: the targets.
        holdings: by account and asset, in order.
        pending: transfers that were under way.
        wallets: the last `wallets` rows.
    """

    title: str
    inventory: InventoryConfig
    holdings: list[Holdings]
    pending: list[dict[str, Any]]
    wallets: list[dict[str, Any]]

    @property
    def strays(self) -> list[str]:
        """A sentence for each balance beyond its band."""
        return [
            f"{one.asset} of {one.account} at {venue} lies {amount(abs(drift))} {'above' if drift > 0 else 'below'} its target, "
            f"{amount(one.band)} are allowed"
            for one in self.holdings
            for venue, drift in one.drifts.items()
            if abs(drift) > one.band
        ]


def inventory_of(folder: Path, *, log: Path | None = None, targets: InventoryConfig | None = None) -> Inventory:
    """What lies where as of the end of a run, or of the last start of a live log.

    Args:
        folder: the run or the live log.
        log: the run's input log, where it does not lie where the run says.
        targets: in place of those of the config with which it was decided.

    Raises:
        ConfigError: the folder is neither, or a target names an account or venue that it does not have.
        LogError: it is damaged.
    """
    with open_decided(folder, log=log, start=_last_start(folder)) as decided:
        wanted = decided.resolved.inventory if targets is None else targets
        for account, venues in wanted.shares.items():
            for venue in venues:
                if account not in decided.resolved.accounts or venue not in decided.resolved.venues:
                    raise ConfigError(f"inventory.shares.{account}.{venue}: {decided.title} has no such account and venue")
        reader = _Reader(decided)
        return Inventory(
            title=f"{decided.title}, as of {moment_of(reader.ts)}",
            inventory=wanted,
            holdings=reader.holdings(wanted),
            pending=reader.pending(),
            wallets=latest(decided.inputs, "wallets", ("venue", "asset", "network"), reader.until),
        )


def inventory_sections(found: Inventory) -> list[Section]:
    """The report as tables; without a target the cells that need one are unknown."""
    rows: list[tuple[Any, ...]] = []
    for one in found.holdings:
        away = one.drifts
        for venue, balance in sorted(one.balances.items()):
            drift, share = away.get(venue), one.shares.get(venue)
            target = None if drift is None else amount(balance - drift)
            allowed = None if drift is None else amount(one.band)
            verdict = "no target" if drift is None else "within" if abs(drift) <= one.band else "above" if drift > 0 else "below"
            worth = (amount(one.worth(balance)), amount(one.worth(drift)), one.currency or None)
            rows.append(
                (one.account, venue, one.asset, amount(balance), amount(share), target, amount(drift), allowed, *worth, verdict)
            )
    head = (
        "account",
        "venue",
        "asset",
        "balance",
        "share",
        "target",
        "drift",
        "band",
        "worth",
        "drift_worth",
        "currency",
        "verdict",
    )
    moving = [
        (row["account"], row["venue"], row["asset"], row["network"], amount(row["qty"]), row["status"], moment_of(row["ts_recv"]))
        for row in found.pending
    ]
    columns = ("account", "venue", "asset", "network", "qty", "status", "since")
    return [
        Section("inventory", f"Inventory of {found.title}; valued at the last prices", head, rows),
        Section("under_way", "Transfers under way", columns, moving),
    ]


def _last_start(folder: Path) -> int | None:
    """Number of a live log's last start, None of a run or of a log without one."""
    if Manifest(folder).header.kind == "run":
        return None
    with open_query([folder]) as query:
        starts = starts_in(query)
    return starts[-1].start.number if starts else None


class _Reader:
    """Reads a run or a start as of its end."""

    def __init__(self, decided: Decided) -> None:
        self._decided = decided
        summary = Manifest(decided.folder).summary
        last = decided.span.last if decided.span is not None else 0 if summary is None else summary.last_seq
        self.until: Condition = ("seq", "<=", last)
        self.ts = decided.times()[1]
        self._instruments = {
            (row["venue"], row["symbol"]): row for row in latest(decided.inputs, "instruments", ("venue", "symbol"), self.until)
        }
        spot = [row for row in self._instruments.values() if row["kind"] == "spot" and row["venue"] in decided.resolved.venues]
        self._currencies = decided.resolved.run.currencies or tuple(sorted({row["quote"] for row in spot}))

    def holdings(self, wanted: InventoryConfig) -> list[Holdings]:
        """All assets of all accounts that have some, or should."""
        decided = self._decided
        by_asset: dict[tuple[str, str], dict[str, int]] = {}
        for row in latest(decided.outputs, "ledger", ("account", "venue", "asset"), *decided.bounds):
            by_asset.setdefault((row["account"], row["asset"]), {})[row["venue"]] = row["balance"]
        shares = {key: {venue: money_of(share) for venue, share in mine.items()} for key, mine in wanted.by_asset().items()}
        for key, mine in shares.items():
            for venue in mine:
                by_asset.setdefault(key, {}).setdefault(venue, 0)
        said = self._said()
        marks = self._marks({asset for _, asset in by_asset})
        band_ppb = ratio_of(wanted.band_bps)
        found = []
        for (account, asset), balances in sorted(by_asset.items()):
            mine = shares.get((account, asset), {})
            currency = next((one for one in self._currencies if (asset, one) in marks), "")
            free = {venue: max(min(held, said.get((account, venue, asset), held)), 0) for venue, held in balances.items()}
            found.append(
                Holdings(
                    account=account,
                    asset=asset,
                    balances=balances,
                    free=free,
                    shares=mine,
                    band=band_of(sum(balances[venue] for venue in mine), band_ppb),
                    currency=currency,
                    mark=marks.get((asset, currency)),
                )
            )
        return found

    def pending(self) -> list[dict[str, Any]]:
        """Transfers whose last status is not final."""
        rows = latest(self._decided.inputs, "transfers", ("account", "venue", "asset", "transfer_id"), self.until)
        return [row for row in rows if row["status"] not in _DONE] if self._is_live else []

    @property
    def _is_live(self) -> bool:
        span = self._decided.span
        return span is not None and span.start.mode == LIVE

    def _said(self) -> dict[tuple[str, str, str], int]:
        """What venues last said is free, in real trading."""
        span = self._decided.span
        if span is None or not self._is_live:
            return {}
        rows = latest(self._decided.inputs, "balances", ("account", "venue", "asset"), self.until, ("seq", ">=", span.first))
        return {(row["account"], row["venue"], row["asset"]): row["free"] for row in rows}

    def _marks(self, assets: set[str]) -> dict[tuple[str, str], int]:
        """By asset and currency the last mid of a spot instrument of both, whichever venue it came from, else its last trade's price."""
        found = {(asset, asset): MONEY_ONE for asset in assets & set(self._currencies)}
        priced = {(one["base"], one["quote"]) for one in self._instruments.values() if one["kind"] == "spot"}
        wanted = {pair for pair in priced if pair[0] in assets and pair[1] in self._currencies}
        for since in (self.ts - LOOK_BACK_NS, 0):  # all of a long log only for what is not priced lately
            for kinds in (("quotes", "books"), ("trades",)):
                if wanted - found.keys():
                    found = self._last_prices(kinds, since, wanted) | found
        return found

    def _last_prices(self, kinds: Sequence[str], since: int, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """By base and quote the price in the last row of these kinds."""
        prices: dict[tuple[str, str], tuple[int, int]] = {}  # seq and money
        for kind in kinds:
            for row in latest(self._decided.inputs, kind, ("venue", "symbol"), self.until, ("ts_recv", ">=", since)):
                one = self._instruments.get((row["venue"], row["symbol"]))
                low, high = (row[name] for name in _PRICES[kind])
                if one is None or one["kind"] != "spot" or low is None or high is None:
                    continue
                key = (one["base"], one["quote"])
                if key in wanted and (key not in prices or prices[key][0] < row["seq"]):
                    prices[key] = (row["seq"], (low + high) * 10 ** (MONEY_SCALE - row["px_scale"]) // 2)
        return {key: value for key, (_, value) in prices.items()}
