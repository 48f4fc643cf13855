"""Keys: where they come from, who may read them, and that nothing shows them."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import stat
import time
import traceback
from pathlib import Path

import pytest

from tests.venues.exchange_server import KEY, SECRET, SmallExchange
from tests.venues.trader import trading
from xarb.errors import ConfigError, Rejected, VenueError
from xarb.venues import private
from xarb.venues.account import Account, AccountTerms
from xarb.venues.exchange import Place, session_for
from xarb.venues.keys import Keys, Redactor, load_keys

PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHN0aWxsLW5vdC1hLWtleS1idXQtbG9uZy0h\n-----END PRIVATE KEY-----\n"


def test_keys_come_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    """The file wins; names in the environment hold venue and account."""
    environment = {"XARB_OKX_MY_DESK_API_KEY": "k1", "XARB_OKX_MY_DESK_API_SECRET": "s1", "XARB_OKX_MY_DESK_PASSWORD": "p1"}
    keys = load_keys("okx", "my-desk", environment=environment)
    assert keys.credentials() == {"apiKey": "k1", "secret": "s1", "password": "p1"}
    file, pem = tmp_path / "keys.toml", tmp_path / "private.pem"
    pem.write_text(PEM)
    pem.chmod(0o600)
    file.write_text('api_key = "k2"\nprivate_key_file = "private.pem"\n')
    file.chmod(0o600)
    assert load_keys("okx", "my-desk", environment=environment, file=file).credentials() == {"apiKey": "k2", "secret": PEM.strip()}


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ('api_key = "k"\napi_secret = "canary"', 0o640, "mode 0640"),
        ('api_key = "k"\napi_secret = "canary"', 0o604, "mode 0604"),
        ('api_key = "k"\nsecret = "canary"', 0o600, "unknown key secret"),
        ('api_key = "k"', 0o600, "no api_secret"),
        ('api_key = "canary', 0o600, "no valid TOML"),
        ("api_key = 1", 0o600, "must be a text"),
        ('api_key = "k"\napi_secret = "canary"\nprivate_key_file = "x"', 0o600, "exclude each other"),
    ],
)
def test_file_that_is_wrong_is_refused_without_showing_it(tmp_path: Path, text: str, mode: int, words: str) -> None:
    """The message says what is wrong and holds no value."""
    file = tmp_path / "keys.toml"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=words) as error:
        load_keys("binance", "main", environment={}, file=file)
    assert "canary" not in "".join(traceback.format_exception(error.value))


def test_missing_keys_name_what_to_set() -> None:
    """Without keys the message says which variables are looked for."""
    with pytest.raises(ConfigError, match="XARB_BINANCE_MAIN_API_KEY"):
        load_keys("binance", "main", environment={})


def test_keys_are_not_shown_or_copied_out() -> None:
    """Neither repr, str, pickle nor a redacted text holds a secret, however an address writes it."""
    keys = Keys("binance", "main", {"api_key": KEY, "api_secret": "s/e+c=r et&1"})
    assert KEY not in f"{keys} {keys!r}"
    with pytest.raises(TypeError):
        pickle.dumps(keys)
    with pytest.raises(TypeError):
        copy.deepcopy(keys)
    hide = keys.redactor()
    for text in (KEY, "s/e+c=r et&1", "s%2Fe%2Bc%3Dr%20et%261", "s%2Fe%2Bc%3Dr+et%261"):
        assert "***" in hide(f"GET https://x/y?a={text}&b=1")
        assert text not in hide(f"GET https://x/y?a={text}&b=1")
    assert repr(hide).startswith("Redactor(")


@pytest.mark.parametrize(
    "text",
    [
        "GET https://api/x?timestamp=1&signature=canary0&recvWindow=5",
        '{"apiKey":"canary0","passphrase": "canary1"}',
        "X-MBX-APIKEY: canary0",
        "{'OK-ACCESS-SIGN': 'canary0'}",
        "listenKey=canary0",
        "Authorization: canary0",
        "canary0 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".replace("canary0 ", ""),
        PEM.replace("MC4", "canary0"),
        "no such key 0x" + "0123456789abcdef" * 4,
        "https://api/x?access_token=canary0&a=1",
        "api_secret=canary0",
        "{'secretKey': 'canary0'}",
        '{\\"passphrase\\": \\"canary0\\"}',
        "x-api-key: canary0",
        "private_key = canary0",
        "POST https://mainnet.example/v3/canary00000000000000000000000000 failed",
        "wss://node.example:8546/ws/canary0000-0000000000_0000?x=1",
        "https://me:canary0@node.example/rpc",
        "Authorization: Bearer canary0",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    """Signatures, headers, keys in frames, 64 hexadecimal digits and PEM blocks, without knowing their values."""
    hidden = Redactor()(text)
    assert "canary" not in hidden
    assert "0123456789abcdef" not in hidden
    assert "***" in hidden
    assert len(Redactor()("x" * 10_000)) == 500


@pytest.mark.parametrize(
    "text",
    [
        "https://" + "a-" * 500_000,
        "secret" * 200_000,
        "\\" * 1_000_000,
        "x://" + ":" * 1_000_000,
        "https://" + ("a" * 23 + "/") * 40_000,
    ],
)
def test_long_texts_are_hidden_at_once(text: str) -> None:
    """A frame of a megabyte that is made to be slow does not hold up the loop."""
    before = time.process_time()
    assert len(Redactor()(text)) <= 500
    assert time.process_time() - before < 0.5


def test_secret_at_the_place_of_a_cut_is_not_shown_in_part() -> None:
    """Something long that is hidden makes room for what stands where the text ends for us."""
    hide = Redactor(["canary" * 6])
    for at in range(3_900, 4_010):
        text = "-----BEGIN PRIVATE KEY-----".ljust(at, "x") + "-----END X-----" + "canary" * 6
        assert "cana" not in hide(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET https://api.binance.com/api/v3/exchangeInfo?symbol=BTCUSDT&limit=5",
        "wss://stream.binance.com:9443/ws/btcusdt@depth@100ms closed with code 1006",
        "the design: 5, assigned: 7, tokens: 3, quote_token: USDC, key: 4",
        "order 01b7c2d4-1-17 of 2026-11-28T06:40:00Z at 9223372036854775807",
        "0x000000000000000000000000000000000000dEaD has 5",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Addresses of exchanges, of accounts on chains, numbers, times and order ids."""
    assert Redactor()(text) == text


def test_nothing_that_a_venue_tells_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """With canary keys through faults of every kind: no row, no error, no traceback and no log line holds them or a signature."""
    texts: list[str] = []

    async def work() -> None:
        server = SmallExchange()
        server.is_mute = True
        server.faults = ["drop", (-2010, "Account has insufficient balance"), "503", "truncate"]
        async with server.serving(), trading(server) as at:
            for number in range(1, 5):
                await at.submit(number)
            await at.until(lambda events: len([e for e in events if e.startswith(("fill", "rejected"))]) == 4)
            account = at.venue.desks["main"].account
            for symbol in ("BTC/USDT", "NO/SUCH"):
                try:
                    await account.open_orders(symbol)
                except VenueError as error:
                    texts.append("".join(traceback.format_exception(error)) + repr(error.__context__) + repr(error.__cause__))
            texts.append(f"{account!r} {account.terms!r} {at.venue!r}")
            texts.extend(repr(row) for row in at.rows)
        signatures = [values["signature"] for _, _, values in server.seen if "signature" in values]
        assert len(signatures) > 10
        for text in [*texts, caplog.text]:
            assert KEY not in text
            assert SECRET not in text
            assert not any(signature in text for signature in signatures)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(asyncio.wait_for(work(), 40))
    assert any("GET http" in text or "POST http" in text for text in texts)


def test_wrong_secret_is_a_refusal() -> None:
    """A signature that does not hold: refused, and the text says so without the keys."""

    async def work() -> None:
        async with SmallExchange().serving() as server:
            with pytest.raises(Rejected, match="Signature") as error:
                async with trading(server, secret=SECRET[::-1]):
                    pass
            assert error.value.reason == "authentication_error"

    asyncio.run(asyncio.wait_for(work(), 20))


@pytest.mark.parametrize("address", ["127.0.0.1:\u00b2", "127.0.0.1:\u0669", "127.0.0.1:", ":80", "80"])
def test_an_address_that_is_none_is_refused_by_name(address: str) -> None:
    """A port is of ASCII digits."""

    async def work() -> None:
        with pytest.raises(ConfigError, match=r"hosts\.api\.binance\.com = .*: allowed is ADDRESS:PORT"):
            session_for(Place(hosts={"api.binance.com": address}))

    asyncio.run(work())


def test_keys_that_lack_what_the_exchange_requires_are_refused() -> None:
    """OKX wants a pass phrase: it is named, and nothing is left open."""

    async def work() -> None:
        terms = AccountTerms(label="main", exchange="okx")
        with pytest.raises(ConfigError, match="okx also requires password"):
            Account(terms, Keys("okx", "main", {"api_key": KEY, "api_secret": SECRET}), [])
        with pytest.raises(ConfigError, match="real orders are possible at binance, okx"):
            Account(AccountTerms(label="main", exchange="kraken"), Keys("kraken", "main", {}), [])

    asyncio.run(work())
    gc.collect()


@pytest.mark.parametrize(
    ("mode", "whose", "why"), [(0o600, 0, None), (0o600, 1, "belongs to another user"), (0o640, 1, "mode 0640")]
)
def test_a_file_of_another_user_is_refused(tmp_path: Path, mode: int, whose: int, why: str | None) -> None:
    """Whoever owns it can change the keys, whatever its mode; root and others alike."""
    file = tmp_path / "keys.toml"
    file.touch()
    about = [*file.stat()]
    about[stat.ST_MODE], about[stat.ST_UID] = stat.S_IFREG | mode, os.geteuid() + whose
    found = private.objection(os.stat_result(about), 0o600)
    assert found == why if why is None else found is not None and why in found
