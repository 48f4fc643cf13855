"""The executor verb: put our contract on a chain, give it tokens of our wallet, and take them back; in public, one transaction at a time.

A session must not send from the address meanwhile, and no transaction of it may wait. What the node says would fail is not sent.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from xarb.config import Experiment
from xarb.config.chains import ChainConfig
from xarb.config.sending import SendingConfig
from xarb.console import Table
from xarb.errors import ConfigError, OutcomeUnknown, Refused, Rejected, Retryable
from xarb.live.chains import fees_of, permits_of, wei
from xarb.model.units import MONEY_SCALE, format_decimal, parse_decimal, to_scale
from xarb.pools.basefee import next_base_fee
from xarb.process import run_loop
from xarb.venues.accountlock import AccountLocks, Locked, account_digest
from xarb.venues.dex.executor import creation_code, owner_of, withdraw_data
from xarb.venues.dex.fees import FeePolicy
from xarb.venues.dex.permits import Permits, transfer_data
from xarb.venues.dex.reading import call_data
from xarb.venues.dex.rpc import Rpc
from xarb.venues.wallets import entries, open_wallet
from xarb.wires.node import BadAnswer, address_of, bytes_of, header_of, number_of
from xarb.wires.receipts import Receipt, receipt_of

WAIT_S: Final = 180.0  # for a block that holds it
_LOOK_S: Final = 0.5
_TIP_GWEI: Final = Decimal(1)
_RISES: Final = 2  # full blocks that a bid still pays for
_ROOM_PERCENT: Final = 120  # of the gas that the node estimates
_GWEI_DECIMALS: Final = 9
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class Call(NamedTuple):
    """What is to be sent, in words too; `to` is None for a new contract."""

    to: str | None
    data: bytes
    words: str


class _Job(NamedTuple):
    """A transaction of a wallet on a chain; `call` asks the node for what it must know. Without permits it may be the contract alone."""

    venue: str
    chain: ChainConfig
    wallet: str
    fees: FeePolicy
    permits: Permits | None
    call: Callable[[Rpc, str], Awaitable[Call]]


def deploy(
    experiment: Experiment,
    chain: str,
    *,
    wallet: str,
    max_fee_gwei: Decimal,
    send: bool,
    environment: Mapping[str, str] | None = None,
) -> list[Table]:
    """Put the executor on a chain; it is the wallet's, and obeys nobody else.

    Args:
        experiment: has `[chains.NAME]`.
        chain: its name.
        wallet: name of the wallet that pays and will own it.
        max_fee_gwei: most that is bid for each gas.
        send: whether it is sent; else the tables say what would be.
        environment: where wallets and locks are looked for; None: the process's own.

    Raises:
        ConfigError: there is no such chain or wallet, or no compiler. Refused: the node says that it would fail, or gas costs too much.
        Retryable, Rejected: the node did not answer. OutcomeUnknown: it left, and no block held it in time.
    """
    config = _chain(experiment, chain)
    tip = min(_TIP_GWEI, max_fee_gwei)

    async def call(_: Rpc, owner: str) -> Call:
        return Call(None, creation_code(), f"a new executor, which {owner} owns")

    fees = FeePolicy(tip_wei=wei(tip), cap_wei=wei(max_fee_gwei), rises=_RISES)
    return _run(_Job(chain, config, wallet, fees, None, call), send=send, environment=environment)


def fund(
    experiment: Experiment, chain: str, token: str, amount: str, *, send: bool, environment: Mapping[str, str] | None = None
) -> list[Table]:
    """Give the executor of `[chains.NAME.sending]` so many whole tokens of its wallet.

    Raises:
        As `deploy`; Refused: the token is not among `sending.tokens`, or the executor is not ours.
    """
    sending = _sending(experiment, chain)
    executor = sending.executor.lower()

    async def call(rpc: Rpc, owner: str) -> Call:
        await _see_that_it_is_ours(rpc, executor, owner)
        units = await _units(rpc, token, amount)
        return Call(token.lower(), transfer_data(executor, units), f"{amount} of {token} to the executor {executor}")

    return _run(_of(experiment, chain, sending, call), send=send, environment=environment)


def withdraw(
    experiment: Experiment, chain: str, token: str, amount: str, *, send: bool, environment: Mapping[str, str] | None = None
) -> list[Table]:
    """Take so many whole tokens from the executor of `[chains.NAME.sending]` back to its wallet.

    Raises:
        As `fund`.
    """
    sending = _sending(experiment, chain)
    executor = sending.executor.lower()

    async def call(rpc: Rpc, owner: str) -> Call:
        await _see_that_it_is_ours(rpc, executor, owner)
        units = await _units(rpc, token, amount)
        return Call(executor, withdraw_data(token.lower(), units), f"{amount} of {token} to {owner}, from the executor {executor}")

    return _run(_of(experiment, chain, sending, call), send=send, environment=environment)


def _chain(experiment: Experiment, chain: str) -> ChainConfig:
    if chain not in experiment.chains:
        raise ConfigError(f"there is no [chains.{chain}]")
    return experiment.chains[chain]


def _sending(experiment: Experiment, chain: str) -> SendingConfig:
    _chain(experiment, chain)
    if chain not in experiment.sending:
        raise ConfigError(f"there is no [chains.{chain}.sending]: it says which wallet and executor")
    return experiment.sending[chain]


def _of(experiment: Experiment, chain: str, sending: SendingConfig, call: Callable[[Rpc, str], Awaitable[Call]]) -> _Job:
    config = experiment.chains[chain]
    return _Job(chain, config, sending.wallet, fees_of(sending), permits_of(config, sending), call)


def _run(job: _Job, *, send: bool, environment: Mapping[str, str] | None) -> list[Table]:
    return run_loop(_carry(job, send=send, environment=os.environ if environment is None else environment))


async def _carry(job: _Job, *, send: bool, environment: Mapping[str, str]) -> list[Table]:
    entry = next((one for one in entries(environment) if one.name == job.wallet), None)
    if entry is None or entry.trouble:
        raise ConfigError(f"there is no wallet {job.wallet}" if entry is None else f"wallet {job.wallet}: {entry.trouble}")
    owner = to_checksum_address(entry.address)
    locks = AccountLocks(Path(f"xarb executor on {job.venue}"), environment)
    if send:
        locks.take([Locked(f"{job.wallet} at {job.venue}", account_digest("evm", str(job.chain.chain_id), owner.lower()))])
    try:
        rpc = await _connected(job)
        try:
            return await _with(job, rpc, owner, environment=environment if send else None)
        except BadAnswer as error:
            raise Rejected(f"{job.venue}: {error}") from None
        finally:
            await rpc.close()
    finally:
        locks.release()


async def _with(job: _Job, rpc: Rpc, owner: str, *, environment: Mapping[str, str] | None) -> list[Table]:
    """By a node: what would be sent, and with an environment that has the wallet what became of it."""
    call = await job.call(rpc, owner)
    transaction = await _made(job, rpc, owner, call)
    if job.permits is not None and (why := job.permits.objection(transaction)) is not None:
        raise Refused(f"{why}: not among what [chains.{job.venue}.sending] lets be signed")
    plan = _told(job, transaction, call)
    if environment is None:
        return [plan]
    raw = await open_wallet(job.wallet, environment).sign_transaction(transaction)
    return [plan, await _sent(rpc, raw, owner, is_new=call.to is None)]


async def _connected(job: _Job) -> Rpc:
    """The first node that answers, and is of the chain."""
    why: Exception | None = None
    for address in job.chain.rpc:
        rpc = Rpc(address, _unasked)
        try:
            await rpc.open()
            found = number_of(await rpc.call("eth_chainId"))
        except (Retryable, Rejected, BadAnswer) as error:
            why = error
        else:
            if found == job.chain.chain_id:
                return rpc
            why = Refused(f"{rpc.shown} is of chain {found}, not {job.chain.chain_id}")
        await rpc.close()
    raise Retryable(f"{job.venue}: no node: {why}")


async def _made(job: _Job, rpc: Rpc, owner: str, call: Call) -> dict[str, Any]:
    """The transaction, which the node says would succeed now."""
    header = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
    nonce = number_of(await rpc.call("eth_getTransactionCount", owner, {"blockHash": header.hash}))
    waiting = number_of(await rpc.call("eth_getTransactionCount", owner, "pending")) - nonce
    if waiting > 0:
        raise Refused(f"{waiting} transactions of {owner} wait for a block")
    base_fee = next_base_fee(header.base_fee_wei or 0, header.gas_used, header.gas_limit)
    bid = job.fees.first(base_fee)
    if bid is None:
        needs, most = (format_decimal(one, _GWEI_DECIMALS) for one in (base_fee + job.fees.tip_wei, job.fees.cap_wei))
        raise Refused(f"gas costs {needs} gwei with its tip, and {most} are bid at most")
    wish: dict[str, Any] = {"from": owner, "data": "0x" + call.data.hex()} | ({} if call.to is None else {"to": call.to})
    try:
        gas = number_of(await rpc.call("eth_estimateGas", wish)) * _ROOM_PERCENT // 100
    except Rejected as error:
        raise Refused(f"it would fail: {error}") from None
    return {
        "type": 2,
        "chainId": job.chain.chain_id,
        "from": owner,
        "nonce": nonce,
        "value": 0,
        "gas": gas,
        "maxFeePerGas": bid.max_fee_wei,
        "maxPriorityFeePerGas": bid.tip_wei,
        "data": call.data,
    } | ({} if call.to is None else {"to": to_checksum_address(call.to)})


async def _sent(rpc: Rpc, raw: bytes, owner: str, *, is_new: bool) -> Table:
    """Hand it over, and wait for its receipt."""
    tx_hash = "0x" + keccak(raw).hex()
    try:
        await rpc.call("eth_sendRawTransaction", "0x" + raw.hex())
    except Rejected as error:
        raise Refused(f"{rpc.shown} does not take it: {error}") from None
    except Retryable as error:
        raise OutcomeUnknown(f"{tx_hash} may have left: {error}") from None
    try:
        async with asyncio.timeout(WAIT_S):
            receipt, contract = await _receipt(rpc, tx_hash, is_new=is_new)
        if contract and owner_of(bytes_of(await rpc.call("eth_getCode", contract, "latest"))) != owner.lower():
            raise Refused(f"what stands at {contract} by {tx_hash} is not the executor that was tested")
    except (Retryable, TimeoutError) as error:
        raise OutcomeUnknown(f"{tx_hash} left, and no receipt came: {error or f'not in {WAIT_S:g} s'}") from None
    if not receipt.succeeded:
        raise Refused(f"{tx_hash} is in block {receipt.block_number}, and failed")
    cost = format_decimal(receipt.gas_used * receipt.gas_price_wei, MONEY_SCALE)
    rows = [("transaction", tx_hash), ("block", f"{receipt.block_number}"), ("gas", f"{receipt.gas_used}"), ("cost", cost)]
    return Table("Sent", ("what", "value"), (*rows, *([("executor", contract)] if contract else [])))


async def _receipt(rpc: Rpc, tx_hash: str, *, is_new: bool) -> tuple[Receipt, str]:
    """Its receipt once there is one, and the address of the contract that it made."""
    while True:
        said = await rpc.call("eth_getTransactionReceipt", tx_hash)
        found = receipt_of(said, tx_hash)
        if found is not None:
            return found, address_of(said["contractAddress"]) if is_new and found.succeeded else ""
        await asyncio.sleep(_LOOK_S)


async def _see_that_it_is_ours(rpc: Rpc, executor: str, owner: str) -> None:
    found = owner_of(bytes_of(await rpc.call("eth_getCode", executor, "latest")))
    if found is None:
        raise Refused(f"what stands at {executor} is not the executor that was tested")
    if found != owner.lower():
        raise Refused(f"the executor at {executor} is {found}'s, not {owner}'s")


async def _units(rpc: Rpc, token: str, amount: str) -> int:
    """Whole tokens in smallest units."""
    if not _ADDRESS.fullmatch(token):
        raise ConfigError(f"{token} is no address of a token")
    decimals = _small(await rpc.call("eth_call", {"to": token, "data": call_data("decimals()")}, "latest"))
    try:
        units = to_scale(*parse_decimal(amount), decimals)
    except ValueError as error:
        raise ConfigError(f"{amount} of {token}: {error}") from None
    if units <= 0:
        raise ConfigError(f"{amount} of {token}: must be above 0")
    return units


def _small(said: Any) -> int:
    """A small number that a contract returned.

    Raises:
        BadAnswer: it is none.
    """
    raw = bytes_of(said)
    if len(raw) != 32 or int.from_bytes(raw) > 77:  # decimals that 256 bits hold
        raise BadAnswer(f"decimals() returned 0x{raw.hex()[:100]}")
    return int.from_bytes(raw)


def _told(job: _Job, transaction: Mapping[str, Any], call: Call) -> Table:
    most = format_decimal(transaction["gas"] * transaction["maxFeePerGas"], MONEY_SCALE)
    rows: Sequence[tuple[str, str]] = (
        ("what", call.words),
        ("chain", f"{job.venue} ({job.chain.chain_id})"),
        ("from", f"{transaction['from']} (wallet {job.wallet})"),
        ("nonce", f"{transaction['nonce']}"),
        ("gas at most", f"{transaction['gas']}"),
        ("costs at most", most),
    )
    return Table("To be sent", ("what", "value"), tuple(rows))


def _unasked(name: str, said: object) -> None:
    """Nothing is subscribed."""
    del name, said
