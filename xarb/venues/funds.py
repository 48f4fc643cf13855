"""What an account has and may do: balances, deposits and withdrawals, open networks, its true fees, and what its key permits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from xarb.errors import Rejected
from xarb.model.instrument import FeeTier
from xarb.model.units import parse_ratio
from xarb.venues.account import Account
from xarb.venues.replies import NANOS_PER_MILLI, UnreadableReply, money_said
from xarb.venues.userwires import BalanceTold
from xarb.venues.venue import VenueRow

LOOK_BACK_MS: Final = 3 * 86_400_000
_SPOT: Final = "spot"
_FINAL: Final = ("ok", "failed", "canceled")  # ccxt's words


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do; None: the exchange does not say."""

    can_trade: bool | None
    can_withdraw: bool | None
    is_bound_to_addresses: bool | None


async def balances(account: Account) -> list[BalanceTold]:
    """Every asset of which the account has some, free or locked.

    Raises:
        Retryable, Rejected: as `Account.ask` does.
    """

    def read(raw: Any) -> list[BalanceTold]:
        if not isinstance(raw, Mapping) or not isinstance(raw.get("free"), Mapping) or not isinstance(raw.get("used"), Mapping):
            raise UnreadableReply("the reply has no balances")
        ts, found = _nanos(raw.get("timestamp")), []
        for asset, free in raw["free"].items():
            one = BalanceTold(asset, money_said(free, asset), money_said(raw["used"].get(asset, "0"), asset), ts)
            if one.free or one.locked:
                found.append(one)
        return found

    return await account.ask("balances", lambda: account.client.fetch_balance({"type": _SPOT}), read)


def balance_row(account: str, venue: str, told: BalanceTold) -> VenueRow:
    """A balance as a row of `balances`."""
    whose = {"account": account, "strategy": "", "venue": venue}
    return VenueRow("balances", {**whose, "asset": told.asset, "free": told.free, "locked": told.locked, "ts_event": told.ts_event})


class Transfers:
    """Deposits and withdrawals of an account, each once for every status that it has.

    One that was final before `since_ms` (exchange time, Unix ms) of the first look is part of the balances that were found then: it is
    remembered and not told. Each look goes back some days, since a transfer may be on its way for long.
    """

    def __init__(self, account: Account, venue: str) -> None:
        self._account = account
        self._venue = venue
        self._told: dict[tuple[str, str], str] = {}
        self._assets: dict[tuple[str, str], str] = {}
        self._has_looked = False
        self._first_ms: int | None = None  # of the first look, also if it failed

    @property
    def under_way(self) -> frozenset[str]:
        """Assets with a deposit or withdrawal that may change its status: nobody knows whether it is in the balance yet."""
        return frozenset(asset for key, asset in self._assets.items() if self._told[key] not in _FINAL)

    async def fresh(self, since_ms: int) -> list[VenueRow]:
        """Rows of `transfers` that are new or whose status changed.

        Raises:
            Retryable, Rejected: as `Account.ask` does.
        """
        client, found = self._account.client, []
        if self._first_ms is None:
            self._first_ms = since_ms
        begin = since_ms - LOOK_BACK_MS
        for sign, fetch in ((1, client.fetch_deposits), (-1, client.fetch_withdrawals)):
            for one in await self._account.ask("transfers", lambda: fetch(None, begin), _list):  # noqa: B023  # awaited at once
                found.append((self._row(one, sign), _nanos(one.get("updated")) or 0))
        rows, is_first = [], not self._has_looked
        self._has_looked = True  # only now, that both lists are there and were read
        for row, updated in found:
            values = row.values
            name = values["transfer_id"] or f"{values['asset']} {values['qty']} {values['ts_event']}"
            key = ("in" if values["qty"] > 0 else "out", name)
            if self._told.get(key) == values["status"]:
                continue
            self._told[key], self._assets[key] = values["status"], values["asset"]
            was_there = max(values["ts_event"] or 0, updated) < self._first_ms * NANOS_PER_MILLI and values["status"] in _FINAL
            if not (is_first and was_there):
                rows.append(row)
        return rows

    def _row(self, raw: Any, sign: int) -> VenueRow:
        if not isinstance(raw, Mapping) or raw.get("amount") is None or not raw.get("currency"):
            raise UnreadableReply("a transfer without amount or currency")
        fee = raw.get("fee") or {}
        return VenueRow(
            "transfers",
            {
                "account": self._account.label,
                "strategy": "",
                "venue": self._venue,
                "asset": raw["currency"],
                "network": raw.get("network"),
                "qty": sign * money_said(raw["amount"], "amount"),
                "fee": None if fee.get("cost") is None else money_said(fee["cost"], "fee"),
                "transfer_id": str(raw.get("id") or raw.get("txid") or "") or None,
                "status": str(raw.get("status") or "unknown"),
                "ts_event": _nanos(raw.get("timestamp")),
            },
        )


async def wallets(account: Account, venue: str, assets: Iterable[str]) -> list[VenueRow]:
    """Rows of `wallets` for some assets on every network that the exchange lists; what it does not say counts as closed.

    Raises:
        Retryable, Rejected: as `Account.ask` does.
    """
    wanted = dict.fromkeys(assets)
    found = await account.ask("wallets", account.client.fetch_currencies, _mapping)
    rows = []
    for asset in wanted:
        networks = (found.get(asset) or {}).get("networks") or {}
        for network, one in networks.items():
            withdraw = (one.get("limits") or {}).get("withdraw") or {}
            values = {
                "venue": venue,
                "asset": asset,
                "network": str(network),
                "deposit_open": one.get("deposit") is True,
                "withdraw_open": one.get("withdraw") is True,
                "withdraw_fee": None if one.get("fee") is None else money_said(one["fee"], "fee"),
                "withdraw_min": None if withdraw.get("min") is None else money_said(withdraw["min"], "min"),
            }
            rows.append(VenueRow("wallets", values))
    return rows


class Networks:
    """Rows of `wallets` of a venue, each when the exchange says something new.

    Args:
        account: asks.
        venue: venue id.
        assets: those whose networks matter.
        known: rows that were told already.
    """

    def __init__(self, account: Account, venue: str, assets: Sequence[str], known: Iterable[VenueRow] = ()) -> None:
        self._account, self._venue, self._assets = account, venue, assets
        self._told: dict[tuple[str, str], dict[str, Any]] = {}
        for row in known:
            self._is_news(row)

    async def fresh(self) -> list[VenueRow]:
        """Rows that differ from those before; a network that the exchange lists no longer is closed.

        Raises:
            Retryable, Rejected: as `Account.ask` does.
        """
        found = await wallets(self._account, self._venue, self._assets)
        listed = {(row.values["asset"], row.values["network"]) for row in found}
        gone = [values for key, values in self._told.items() if key not in listed]
        found += [VenueRow("wallets", {**values, "deposit_open": False, "withdraw_open": False}) for values in gone]
        return [row for row in found if self._is_news(row)]

    def _is_news(self, row: VenueRow) -> bool:
        key = row.values["asset"], row.values["network"]
        if self._told.get(key) == row.values:
            return False
        self._told[key] = row.values
        return True


async def fee_tier(account: Account, symbol: str) -> FeeTier:
    """The account's own fees on a symbol, as the exchange states them.

    Raises:
        Rejected: it does not say, reason `fees_unknown`. Retryable: no answer.
    """

    def read(raw: Any) -> tuple[str, str]:
        if not isinstance(raw, Mapping) or raw.get("maker") is None or raw.get("taker") is None:
            raise UnreadableReply(f"no fees for {symbol}")
        return str(raw["maker"]), str(raw["taker"])

    maker, taker = await account.ask("fees", lambda: account.client.fetch_trading_fee(symbol), read)
    if account.fee_asset is None:
        account.fee_asset = await _fee_asset(account)
    try:
        return FeeTier(
            maker_ppb=parse_ratio(maker), taker_ppb=parse_ratio(taker), asset=account.fee_asset, source=f"{account.label}: {symbol}"
        )
    except ValueError as error:
        raise Rejected(f"fees {maker} and {taker} of {symbol}: {error}", reason="fees_unknown") from None


async def _fee_asset(account: Account) -> str:
    """In which asset the account pays: what a fill brings in, or the coin that it chose."""
    if account.terms.exchange != "binance":
        return "received"
    raw = await account.ask("rights", account.client.sapiGetBnbBurn, _mapping)
    if "spotBNBBurn" not in raw:
        raise Rejected("it is not known whether fees are paid in BNB", reason="fees_unknown")
    return "BNB" if raw["spotBNBBurn"] is True else "received"


async def rights(account: Account) -> Rights:
    """What the key may do.

    Raises:
        Retryable, Rejected: as `Account.ask` does.
    """
    client = account.client
    if account.terms.exchange == "binance":
        return await account.ask("rights", client.sapiGetAccountApiRestrictions, _binance_rights)
    if account.terms.exchange == "okx":
        return await account.ask("rights", client.privateGetAccountConfig, _okx_rights)
    return Rights(can_trade=None, can_withdraw=None, is_bound_to_addresses=None)


def _binance_rights(raw: Any) -> Rights:
    if not isinstance(raw, Mapping):
        raise UnreadableReply("no key permissions")
    return Rights(
        can_trade=raw.get("enableSpotAndMarginTrading"),
        can_withdraw=raw.get("enableWithdrawals"),
        is_bound_to_addresses=raw.get("ipRestrict"),
    )


def _okx_rights(raw: Any) -> Rights:
    data = raw.get("data") if isinstance(raw, Mapping) else None
    if not isinstance(data, Sequence) or not data or not isinstance(data[0], Mapping) or not isinstance(data[0].get("perm"), str):
        raise UnreadableReply("no key permissions")
    words = data[0]["perm"].split(",")
    return Rights(can_trade="trade" in words, can_withdraw="withdraw" in words, is_bound_to_addresses=bool(data[0].get("ip")))


def _mapping(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise UnreadableReply("the reply is no object")
    return raw


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise UnreadableReply("the reply is no list")
    return raw


def _nanos(milliseconds: object) -> int | None:
    return milliseconds * NANOS_PER_MILLI if isinstance(milliseconds, int) else None
