"""The check of who sends on a config's chains: wallet, executor, nonce, gas and what there is to pay it with, as they are now; nothing is sent or opened."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from xarb.assembly.onchain import cex_dex, dex_dex
from xarb.assembly.resolved import Resolved
from xarb.config import Experiment
from xarb.config.sending import SendingConfig
from xarb.console import Table
from xarb.errors import ConfigError, Rejected, Retryable
from xarb.live.chains import wei
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, Money, format_decimal
from xarb.pools.basefee import next_base_fee
from xarb.pools.financing import MEASURED
from xarb.process import run_loop
from xarb.strategies.swaps import Places
from xarb.venues.dex.executor import owner_of
from xarb.venues.dex.holdings import Holder, holdings_of
from xarb.venues.dex.rpc import Rpc
from xarb.venues.wallets import entries
from xarb.wires.node import BadAnswer, bytes_of, header_of, number_of

_GWEI: Final = 10**9
_LEAST_GAS: Final = min(use.of(2, 0) for use in MEASURED.values())  # of a cycle of two pools
_SENDERS: Final = ("chain", "account", "wallet", "address", "nonce", "waiting", "base fee gwei", "bid at most gwei", "verdict")


class Senders(NamedTuple):
    """Tables to print, what there is by (account, chain, asset), and what forbids to send."""

    tables: list[Table]
    money: dict[tuple[str, str, str], Money]
    objections: list[str]


class _Said(NamedTuple):
    """What a chain said of an address: nonces of the latest block and with what waits, the next block's base fee, what it and its executor have."""

    latest: int
    pending: int
    base_fee_wei: int
    holdings: Mapping[str, Money]
    owner: str | None


def check_senders(experiment: Experiment, environment: Mapping[str, str] | None = None) -> Senders:
    """Look at each chain on which a config sends.

    Args:
        experiment: the config.
        environment: where wallets are looked for; None: the process's own.
    """
    wallets = {one.name: one for one in entries(os.environ if environment is None else environment)}
    rows: list[tuple[str, ...]] = []
    held: list[tuple[str, ...]] = []
    found = Senders([], {}, [])
    for venue, sending in sorted(experiment.sending.items()):
        entry = wallets.get(sending.wallet)
        why = [f"there is no wallet {sending.wallet}" if entry is None else entry.trouble, *_lacking(experiment, venue, sending)]
        address = "-" if entry is None else entry.address
        said = None
        if address != "-":
            said, more = run_loop(_ask(experiment, venue, address))
            why += more if said is None else _against(experiment, venue, sending, (said, address))
        objections = [one for one in why if one]
        found.objections.extend(f"{sending.account} at {venue}: {one}" for one in objections)
        words = "; ".join(objections) or "may send"
        fees = ("-", "-") if said is None else (_gwei(said.base_fee_wei), f"{_most(experiment, venue, sending) / _GWEI:g}")
        counts = ("-", "-") if said is None else (f"{said.latest}", f"{max(said.pending - said.latest, 0)}")
        rows.append((venue, sending.account, sending.wallet, address, *counts, *fees, words))
        for asset, amount in {} if said is None else said.holdings.items():
            found.money[sending.account, venue, asset] = amount
            holder = "wallet" if asset == experiment.onchain[venue].own.native else "executor"
            held.append((venue, sending.account, holder, asset, format_decimal(amount, MONEY_SCALE)))
    tables = (
        Table("Senders", _SENDERS, tuple(rows)),
        Table("Held on chains", ("chain", "account", "by", "asset", "amount"), tuple(held)),
    )
    found.tables.extend(table for table in tables if table.rows)
    return found


def lacking_on_the_way(experiment: Experiment, resolved: Resolved, instruments: Sequence[Instrument]) -> list[str]:
    """Tokens beside those of the config that strategies swap on their ways through pools, and that may not be sent.

    A way through one of them would be planned, and refused before it is signed.

    Raises:
        ConfigError: a strategy cannot be made of the config.
    """
    found = []
    for name, one in sorted(resolved.strategies.items()):
        ways: dict[str, list[Places]] = {}
        known: dict[str, Collection[str]] = {}  # what `check_senders` tells of
        if one.kind == "dex_dex":
            rounds = dex_dex(resolved, name, instruments)
            ways |= rounds.cycles
            known |= {venue: chain.starts for venue, chain in rounds.chains.items()}
        elif one.kind == "cex_dex":
            hedged = cex_dex(resolved, name, instruments, ({}, {}))
            known |= {venue: chain.coins for venue, chain in hedged.chains.items()}
            for way in hedged.ways:
                ways.setdefault(way.venue, []).append(way.path.places)
        for venue in sorted(ways.keys() & experiment.sending.keys()):
            sending = experiment.sending[venue]
            pools = {place for places in ways[venue] for place in places}
            swapped = {instruments[number].base if is_sold else instruments[number].quote for number, is_sold in pools}
            lacks = swapped - {token.lower() for token in sending.tokens} - {*known[venue]}
            found += [
                f"{sending.account} at {venue}: {token} is swapped on the way by strategies.{name}, and is not among chains.{venue}.sending.tokens"
                for token in sorted(lacks)
            ]
    return found


async def _ask(experiment: Experiment, venue: str, address: str) -> tuple[_Said | None, list[str]]:
    """What the first node says that answers; else why none does."""
    chain, sending = experiment.chains[venue], experiment.sending[venue]
    why: list[str] = []
    for node in chain.rpc:
        rpc = None
        try:
            rpc = Rpc(node, _forget)
            await rpc.open()
            found = number_of(await rpc.call("eth_chainId"))
            if found != chain.chain_id:
                why.append(f"{rpc.shown} is of chain {found}, not {chain.chain_id}")
                continue
            header = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
            holder = Holder(address, sending.executor, experiment.onchain[venue].own.native)
            said = _Said(
                latest=number_of(await rpc.call("eth_getTransactionCount", address, {"blockHash": header.hash})),
                pending=number_of(await rpc.call("eth_getTransactionCount", address, "pending")),
                base_fee_wei=next_base_fee(header.base_fee_wei or 0, header.gas_used, header.gas_limit),
                holdings=await holdings_of(rpc, holder, sending.tokens, header.hash),
                owner=owner_of(bytes_of(await rpc.call("eth_getCode", sending.executor, "latest"))),
            )
        except (ConfigError, Rejected, Retryable, BadAnswer) as error:
            why.append(f"{'a node' if rpc is None else rpc.shown}: {error}"[:200])
        else:
            return said, []
        finally:
            if rpc is not None:
                await rpc.close()
    return None, why


def _against(experiment: Experiment, venue: str, sending: SendingConfig, seen: tuple[_Said, str]) -> list[str]:
    """What speaks against sending now; transactions that wait are none, since a log may know them."""
    said, address = seen
    native = experiment.onchain[venue].own.native
    why = []
    if said.owner is None:
        why.append(f"what stands at {sending.executor} is not the executor that was tested")
    elif said.owner != address.lower():
        why.append(f"the executor at {sending.executor} is {said.owner}'s, not {address}'s")
    price, most = said.base_fee_wei + wei(sending.tip_gwei), _most(experiment, venue, sending)
    if price > most:
        why.append(f"gas costs {_gwei(price)} gwei with its tip, and {most / _GWEI:g} are bid at most")
    if said.holdings[native] < _LEAST_GAS * price:
        has, needs = format_decimal(said.holdings[native], MONEY_SCALE), format_decimal(_LEAST_GAS * price, MONEY_SCALE)
        why.append(f"{address} has {has} {native}, and gas of a cycle of two pools costs {needs}")
    return why


def _lacking(experiment: Experiment, venue: str, sending: SendingConfig) -> list[str]:
    """Tokens that strategies swap by the config, and that may not be sent: each swap of them would be refused before it is signed."""
    own, allowed = experiment.onchain[venue].own, {token.lower() for token in sending.tokens}
    users: dict[tuple[str, str], list[str]] = {}
    for name, one in sorted(experiment.strategies.items()):
        if one.venues and venue not in one.venues:
            continue
        wanted: dict[str, str] = {}
        if one.kind == "cex_dex":
            wanted = {token: f"counts as {coin} (onchain.{venue}.coins)" for token, coin in own.coins.items()}
        elif one.kind == "dex_dex":
            wanted = dict.fromkeys(one.start_assets or (own.wrapped,), "goes round")
        for token, what in wanted.items():
            if token.lower() not in allowed:
                users.setdefault((token, what), []).append(f"strategies.{name}")
    return [
        f"{token} {what} for {', '.join(names)}, and is not among chains.{venue}.sending.tokens"
        for (token, what), names in users.items()
    ]


def _most(experiment: Experiment, venue: str, sending: SendingConfig) -> int:
    """What is bid at most for each gas, wei."""
    return min(wei(sending.max_fee_gwei), wei(experiment.onchain[venue].own.max_fee_gwei))


def _gwei(amount: int) -> str:
    return format_decimal(amount, 9)


def _forget(name: str, said: object) -> None:
    """Nothing is subscribed."""
    del name, said
