"""The relay's client: who we are in every request, what its answers come to, and which addresses are taken."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from eth_utils.crypto import keccak

from xarb.errors import ConfigError, OutcomeUnknown, Rejected, Retryable, VenueError
from xarb.venues.dex.relay import Relay, Simulated
from xarb.venues.wallets import Wallet, eth_accounts, new_account

RAWS = [b"\x02one", b"\x02two"]


async def asked(answer: web.Response | None, method: str) -> tuple[Any, list[dict[str, Any]]]:
    """What a request came to where the relay gives that answer (None: never), and the requests that it got."""
    got: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def serve(request: web.Request) -> web.Response:
        body = await request.read()
        address, _, signature = request.headers["X-Flashbots-Signature"].partition(":")
        accounts = eth_accounts()  # first: it imports so that nothing else changes
        from eth_account.messages import encode_defunct

        text = encode_defunct(text="0x" + keccak(body).hex())
        got.append({**msgspec.json.decode(body), "signer": accounts.recover_message(text, signature=signature), "address": address})
        if answer is None:
            await over.wait()
            return web.Response()
        return answer

    app = web.Application()
    app.router.add_post("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with asyncio.timeout(20), aiohttp.ClientSession() as http:
            relay = Relay(url, http, Wallet("relay", new_account()), timeout_s=0.5)
            try:
                return await (relay.simulate(RAWS, 17) if method == "simulate" else relay.send(RAWS, 17, until_s=99)), got
            except VenueError as error:
                return error, got
    finally:
        over.set()
        await runner.cleanup()


def reply(value: Any, status: int = 200) -> web.Response:
    """An answer as JSON."""
    return web.json_response(value, status=status)


def test_a_bundle_is_signed_and_named_as_it_must_be() -> None:
    """Transactions in order, the block, the latest time; and the header's signature is of these very bytes."""
    found, (one,) = asyncio.run(asked(reply({"result": {"bundleHash": "0xab"}}), "send"))
    assert found == "0xab"
    assert one["signer"] == one["address"]
    wish = {"txs": ["0x" + raw.hex() for raw in RAWS], "blockNumber": "0x11", "maxTimestamp": 99}
    assert (one["method"], one["params"]) == ("eth_sendBundle", [wish])


@pytest.mark.parametrize(
    ("results", "failure"),
    [
        ([{"gasUsed": 1}, {"gasUsed": 2}], None),
        ([{"gasUsed": 1}, {"error": "execution reverted", "revert": "UNPROFITABLE"}], "UNPROFITABLE"),
        ([{"error": "nonce too low"}, {}], "nonce too low"),
    ],
)
def test_a_simulation(results: list[dict[str, Any]], failure: str | None) -> None:
    """Its gas, and the first transaction that fails."""
    found, (one,) = asyncio.run(asked(reply({"result": {"results": results, "totalGasUsed": 3}}), "simulate"))
    assert found == Simulated(3, failure)
    assert one["params"][0]["stateBlockNumber"] == "latest"


@pytest.mark.parametrize(
    ("answer", "method", "kind", "reason"),
    [
        (reply({"error": {"message": "bundle too large"}}), "send", Rejected, "relay_refused"),
        (reply({"error": "no"}, 400), "simulate", Rejected, "relay_refused"),
        (reply({}, 429), "send", Retryable, "busy"),
        (web.Response(text="<html>", status=502), "send", OutcomeUnknown, "bad_answer"),
        (web.Response(text="[" * 100_000), "send", OutcomeUnknown, "bad_answer"),
        (reply({"result": {}}), "send", OutcomeUnknown, "bad_answer"),
        (web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}), "send", OutcomeUnknown, "bad_answer"),
        (None, "send", OutcomeUnknown, "no_answer"),
        (None, "simulate", Retryable, "no_answer"),
        (reply({"result": {"results": [{}], "totalGasUsed": 3}}), "simulate", Retryable, "bad_answer"),
        (reply({"result": {"results": [{}, {}], "totalGasUsed": "0x3"}}), "simulate", Retryable, "bad_answer"),
        (reply({"result": {"results": [1, 2], "totalGasUsed": 3}}), "simulate", Retryable, "bad_answer"),
    ],
)
def test_what_goes_wrong(answer: web.Response | None, method: str, kind: type[VenueError], reason: str) -> None:
    """Sent and unanswered is of unknown fate; a simulation moves nothing and may be asked for again."""
    found, _ = asyncio.run(asked(answer, method))
    assert type(found) is kind
    assert found.reason == reason


@pytest.mark.parametrize("url", ["http://relay.example/", "ws://127.0.0.1/", "relay.example"])
def test_addresses_that_others_could_read(url: str) -> None:
    """What is sent there must not be seen on the way."""

    async def make() -> None:
        async with aiohttp.ClientSession() as http:
            Relay(url, http, Wallet("relay", new_account()), timeout_s=1)

    with pytest.raises(ConfigError, match="allowed are https"):
        asyncio.run(make())


def test_a_relay_that_is_not_there() -> None:
    """Nothing left."""

    async def send() -> None:
        async with aiohttp.ClientSession() as http:
            await Relay("http://127.0.0.1:1/?key=abc", http, Wallet("relay", new_account()), timeout_s=1).send(RAWS, 1)

    with pytest.raises(Retryable, match=r"127\.0\.0\.1:1") as caught:
        asyncio.run(send())
    assert "abc" not in str(caught.value)
