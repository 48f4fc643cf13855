"""The exchanges of a session, where nothing is sent: what is said instead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.live.player import Player
from xarb.config import load_experiment
from xarb.errors import InvariantBroken, Refused, Retryable
from xarb.live.begin import Past, past_of
from xarb.live.ending import Ending
from xarb.live.exchanges import Exchanges
from xarb.live.session import Session
from xarb.log.committer import Policy
from xarb.model.command import CancelOrder, SubmitOrder
from xarb.model.instrument import FeeTier
from xarb.model.units import Ppb
from xarb.starts import LIVE
from xarb.venues.account import Account, AccountTerms
from xarb.venues.keys import Keys
from xarb.venues.readiness import Readiness
from xarb.venues.venue import VenueRow


class Silent(Exchanges):
    """Exchanges that do not tell how things stand."""

    is_hung = False

    async def reconcile(self) -> None:
        """In vain."""
        if self.is_hung:
            await asyncio.Event().wait()
        raise Retryable("no answer")


def fail(error: BaseException) -> None:
    """Nothing may fail."""
    raise error


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """A log with one start."""
    player = Player(tmp_path / "log", mode=LIVE)
    player.end()
    return past_of(tmp_path / "log")


def test_commands_that_come_after_the_connections_ended_are_said_not_to_be_sent(past: Past) -> None:
    """An order gets its `not_sent` row, with its own start and name; a cancel has nothing to say."""
    rows: list[VenueRow] = []

    async def story() -> None:
        exchanges = Exchanges({}, past.instruments, past=past, first_conn=0, take=rows.append, fail=fail)
        await exchanges.let_go()
        about = {"ts": 1, "order": 7, "client_order_id": "01234567-2-7", "account": "main", "strategy": "s", "instrument": 1}
        exchanges.send(
            [SubmitOrder(**about, side="buy", tif="ioc", price_int=1, qty_int=1), CancelOrder(**about)]  # type: ignore[arg-type]
        )

    asyncio.run(story())
    [row] = rows
    one = past.instruments[1]
    found = {name: row.values[name] for name in ("venue", "symbol", "start", "order", "client_order_id", "event", "reason")}
    expected = (one.venue, one.symbol, 2, 7, "01234567-2-7", "not_sent", "session_ended")
    assert (row.kind, *found.values()) == ("reports", *expected)


def test_accounts_that_pay_other_fees_on_one_instrument_share_no_session(past: Past) -> None:
    """The engine knows one tier of each instrument; whoever pays more, less, or in another coin is named."""

    def told(account: str, **changes: Any) -> Readiness:
        tier = FeeTier(**({"maker_ppb": Ppb(1), "taker_ppb": Ppb(2)} | changes))
        nothing: dict[str, Any] = dict.fromkeys(("fingerprint", "clock", "rights"))
        nothing |= dict.fromkeys(("balances", "wallets", "objections", "warnings"), ())
        return Readiness(account=account, exchange="binance", venue="alpha", fees={"BTC/USDT": tier}, **nothing)

    async def story() -> None:
        keys = {"api_key": "k", "api_secret": "s"}
        mine = [
            Account(AccountTerms(label=label, exchange="binance"), Keys("alpha", label, keys), ["BTC/USDT"])
            for label in ("one", "two")
        ]
        exchanges = Exchanges({"alpha": mine}, past.instruments, past=past, first_conn=0, take=fail, fail=fail)  # type: ignore[arg-type]
        found = exchanges._fees([told("one"), told("two")])
        assert {name: tier.taker_ppb for name, tier in found.items()} == {"BTC/USDT@alpha": 2}
        for changes in ({"taker_ppb": Ppb(3)}, {"maker_ppb": Ppb(3)}, {"asset": "BNB"}):
            with pytest.raises(Refused, match="two pays other fees on BTC/USDT@alpha than another account does"):
                exchanges._fees([told("one"), told("two", **changes)])
        await exchanges.let_go()

    asyncio.run(story())


def test_command_that_cannot_be_the_venues_ends_the_session_in_order(past: Past) -> None:
    """The failure is told, and does not break the pass of the loop that decided on the command."""
    failures: list[BaseException] = []
    one = past.instruments[0]

    async def story() -> None:
        account = Account(
            AccountTerms(label="main", exchange="binance"),
            Keys(one.venue, "main", {"api_key": "k", "api_secret": "s"}),
            [one.symbol],
        )
        exchanges = Exchanges({one.venue: [account]}, past.instruments, past=past, first_conn=0, take=fail, fail=failures.append)  # type: ignore[arg-type]
        about = {"ts": 1, "order": 7, "client_order_id": "of another log", "account": "main", "strategy": "s", "instrument": 0}
        exchanges.send([SubmitOrder(**about, side="buy", tif="ioc", price_int=1, qty_int=1)])  # type: ignore[arg-type]
        await exchanges.let_go()

    asyncio.run(story())
    assert [type(error) for error in failures] == [InvariantBroken]


@pytest.mark.parametrize("is_hung", [False, True])
@pytest.mark.parametrize("killed", [False, True])
def test_accounts_that_do_not_tell_at_the_end_fail_a_stop_but_not_a_kill(
    tmp_path: Path, past: Past, *, killed: bool, is_hung: bool
) -> None:
    """In bounded time; a kill stays one, so that no supervisor starts it again. The log says it in any case."""
    path = tmp_path / "live.toml"
    path.write_text(
        '[live]\nstop_ms = 100\nrequest_timeout_ms = 100\n[markets.alpha]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\n'
        '[venues.alpha]\nfees = "synthetic-alpha"\n[accounts.main.alpha]\n'
    )
    experiment = load_experiment(path)
    told: list[tuple[object, ...]] = []

    class Told:
        def health(self, *reading: object) -> None:
            told.append(reading)

    async def story() -> None:
        session = Session(experiment, tmp_path / "log", mode=LIVE, policy=Policy())
        session.exchanges = exchanges = Silent({}, past.instruments, past=past, first_conn=0, take=fail, fail=fail)  # type: ignore[arg-type]
        exchanges.is_hung = is_hung
        session.intake = Told()  # type: ignore[assignment]
        async with asyncio.timeout(10):
            await session._reconcile(Ending(actor="x", killed=killed))  # the last step of a stop, alone

    if killed:
        asyncio.run(story())
    else:
        with pytest.raises(Retryable, match="in time" if is_hung else "no answer"):
            asyncio.run(story())
    assert [reading[0] for reading in told] == ["reconcile_failed"]
