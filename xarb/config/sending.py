"""Keys of an experiment file for what is sent to a chain: `[chains.NAME.sending]`. `xarb.config` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from xarb.config.kinds import Count, doc
from xarb.errors import ConfigError

Address = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-fA-F]{40}\Z")]


class SendingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[chains.NAME.sending]`: transactions of one wallet on the chain; without it nothing is sent there (docs/sending.md)."""

    account: Annotated[str, doc("account whose transactions they are")] = "main"
    wallet: Annotated[str, doc("wallet that signs, as `xarb keys add --wallet` named it")]
    executor: Annotated[Address, doc("our contract; another one, or another owner's, is refused")]
    tokens: Annotated[
        tuple[Address, ...],
        doc("addresses of the tokens that may be traded, those on the way through pools too; the pools are those of the chain"),
    ]
    lenders: Annotated[tuple[Address, ...], doc("addresses that may lend; none: only the wallet and the pools themselves pay")] = ()
    relay: Annotated[
        str | None, doc("https address of a relay for what is not to be seen, or env:NAME of a variable that holds it")
    ] = None
    relay_wallet: Annotated[str | None, doc("wallet that says to the relay who we are; it needs no money")] = None
    tip_gwei: Annotated[Decimal, doc("what a builder gets for each gas, at first")] = Decimal(1)
    max_fee_gwei: Annotated[Decimal, doc("most that is bid for each gas, whatever happens")] = Decimal(100)
    base_fee_rises: Annotated[
        int, msgspec.Meta(ge=0, le=20, description="full blocks that a bid still pays for while the base fee rises")
    ] = 2
    max_gas: Annotated[int, msgspec.Meta(ge=50_000, le=30_000_000, description="most gas of a transaction")] = 2_000_000
    wait_blocks: Annotated[Count, doc("blocks that a bid waits before a higher one replaces it")] = 3
    max_replacements: Annotated[
        int, msgspec.Meta(ge=0, le=20, description="higher bids before a transaction is given up and its nonce taken back")
    ] = 3
    max_cancels: Annotated[
        int, msgspec.Meta(ge=1, le=20, description="bids for taking a nonce back; if none works nothing is sent any more")
    ] = 3
    finality_blocks: Annotated[Count, doc("blocks on top of its own after which a receipt is final")] = 12
    relay_blocks: Annotated[Count, doc("blocks for which a relay is asked to include a transaction")] = 3
    unseen_blocks: Annotated[Count, doc("blocks after which a public transaction that the node does not know is dropped")] = 3
    poll_ms: Annotated[
        int, msgspec.Meta(ge=10, le=60_000, description="interval at which the node is asked for its latest block")
    ] = 500


def check_sending(config: SendingConfig, where: str) -> None:
    """What the keys must be beside each other.

    Raises:
        ConfigError: one contradicts another; the message names it.
    """
    if not config.tokens:
        raise ConfigError(f"{where}.tokens is empty: nothing could be traded")
    if (config.relay is None) is not (config.relay_wallet is None):
        missing = "relay_wallet" if config.relay_wallet is None else "relay"
        raise ConfigError(f"{where}.{missing} is missing: a relay needs to know who asks")
    if config.tip_gwei > config.max_fee_gwei:
        raise ConfigError(f"{where}.tip_gwei is above max_fee_gwei")
