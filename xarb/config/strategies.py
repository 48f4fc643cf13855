"""The section of a strategy: which one, on whose account, within which limits."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from xarb.config.kinds import Count, check_part, doc
from xarb.config.reader import Reader
from xarb.errors import ConfigError

# Keys that are not of every kind.
_DEX: Final = ("financing", "success_bps", "slip_bps", "channel", "deadline_ms")
_ONLY: Final = {
    "micro": ("improve_bps", "min_life_ms"),
    "triangular": ("start_assets", "max_legs", "every_row"),
    "dex_dex": ("start_assets", "max_legs", *_DEX),
    "cex_dex": ("max_legs", "every_row", "order", "wait_ms", "wait_risk_bps", *_DEX),
    "custom": ("code", "code_sha256", "params"),
}
LEAST_LEGS: Final = {"triangular": 3, "dex_dex": 2, "cex_dex": 1}
MOST_LEGS: Final = {"triangular": 6, "dex_dex": 4, "cex_dex": 4}


class StrategyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[strategies.NAME]`: one strategy with its account, limits and budget."""

    kind: Annotated[
        Literal["micro", "triangular", "dex_dex", "cex_dex", "custom"],
        doc(
            "which strategy: pairs of one thing on two venues, cycles of three and more trades, cycles of pools in one transaction, paths of "
            "pools that an order at an exchange hedges, or one of your own"
        ),
    ]
    code: Annotated[
        str | None,
        doc("custom: where it is: a file beside this one (`mine.py`), or the name by which an installed package offers it"),
    ] = None
    code_sha256: Annotated[str | None, doc("custom: digest that the code must have; a run notes it anyway")] = None
    params: Annotated[dict[str, Any] | None, doc("custom: what it is given, a table")] = None
    start_assets: Annotated[
        tuple[str, ...],
        doc(
            "triangular, dex_dex: assets that go round, and in which profit is counted, of dex_dex addresses of tokens; triangular has no "
            "default, of dex_dex it is the wrapped token"
        ),
    ] = ()
    max_legs: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=6, description="most trades of a cycle: triangular 3 to 6, dex_dex 2 to 4; pools of a path: cex_dex 1 to 4"
        ),
    ] = 4
    every_row: Annotated[
        bool, doc("triangular, cex_dex: whether every row of its books is a reason to look, besides the scan (and blocks)")
    ] = False
    order: Annotated[
        Literal["dex_first", "simultaneous"],
        doc(
            "cex_dex: the order leaves once a receipt says what was swapped, for so much as that; or at once, and is undone where the swap fails"
        ),
    ] = "dex_first"
    wait_ms: Annotated[
        Decimal, doc("cex_dex: time from a decision to its receipt that is reckoned with: block, inclusion, the way back")
    ] = Decimal(15_000)
    wait_risk_bps: Annotated[
        Decimal,
        doc(
            "cex_dex: how far the price moves in a second, as its standard deviation, all of it held against us; it grows with the square root "
            "of the time (1 is some 56 % a year)"
        ),
    ] = Decimal(1)
    financing: Annotated[
        Literal["auto", "wallet", "callback", "flashloan"],
        doc(
            "dex_dex, cex_dex: what pays the first pool: whatever leaves most, own tokens, the pool itself, or a loan; cex_dex has the wallet only"
        ),
    ] = "auto"
    success_bps: Annotated[Decimal, doc("dex_dex, cex_dex: how likely it comes about as computed")] = Decimal(6000)
    slip_bps: Annotated[Decimal, doc("dex_dex, cex_dex: part of its profit that may be lost before the contract undoes it")] = (
        Decimal(1000)
    )
    channel: Annotated[Literal["public", "relay"], doc("dex_dex, cex_dex: how transactions leave; a relay leaves reverts out")] = (
        "public"
    )
    deadline_ms: Annotated[
        Decimal, doc("dex_dex, cex_dex: block time after which a transaction of a block does nothing any more")
    ] = Decimal(60_000)
    account: Annotated[str, doc("account whose money it uses")] = "main"
    venues: Annotated[tuple[str, ...], doc("venues it may trade on; none means all")] = ()
    symbols: Annotated[tuple[str, ...], doc("symbols it may trade; none means all")] = ()
    min_profit_bps: Annotated[Decimal, doc("least profit after all fees, of the buy notional; there is no default")]
    min_profit_quote: Annotated[Decimal, doc("least profit after all fees, in quote currency; there is no default")]
    max_notional_quote: Annotated[Decimal, doc("largest notional of a leg, in quote currency; there is no default")]
    open_bps: Annotated[Decimal, doc("edge after fees at which an opportunity opens")] = Decimal(0)
    close_bps: Annotated[Decimal, doc("edge after fees below which it closes")] = Decimal(0)
    improve_bps: Annotated[Decimal, doc("micro: improvement of the edge that wakes the strategy again; 0: none does")] = Decimal(1)
    min_life_ms: Annotated[Decimal, doc("micro: how long an edge must stand before its opportunity opens")] = Decimal(0)
    scan_ms: Annotated[Decimal, doc("interval of the timer scan, of micro over open opportunities; 0 switches it off")] = Decimal(
        100
    )
    max_edge_bps: Annotated[Decimal, doc("an edge above it is too good to be true: recorded, never traded; 0: none is")] = Decimal(
        500
    )
    latency_threshold_ms: Annotated[Decimal, doc("age of a quote beyond which nothing is traded on it")] = Decimal(1000)
    execution_timeout_ms: Annotated[Decimal, doc("time after which an unanswered order is UNKNOWN and canceled")] = Decimal(5000)
    max_open_bundles: Annotated[Count, doc("bundles open at once")] = 10
    daily_volume_quote: Annotated[
        Decimal | None, doc("notional that may be sent per UTC day, whatever is restarted, in each quote currency")
    ] = None
    daily_symbol_quote: Annotated[Decimal | None, doc("the same on one symbol over all venues")] = None
    daily_venue_quote: Annotated[Decimal | None, doc("the same on one venue")] = None
    max_orders_per_s: Annotated[Count | None, doc("orders sent per second over all venues")] = None
    max_bundles_per_min: Annotated[Count | None, doc("bundles begun in any minute")] = None
    max_balance_share_bps: Annotated[
        Decimal,
        doc("part of a venue's balance of an asset that orders on their way may draw on when a bundle begins; 0: all of it"),
    ] = Decimal(0)
    cool_down_ms: Annotated[Decimal, doc("pause of a pair after a bundle of it")] = Decimal(0)
    sequence: Annotated[
        Literal["simultaneous", "hard_leg_first"], doc("legs at once, or the first alone and the others on its fills")
    ] = "simultaneous"
    hedge_cap_bps: Annotated[Decimal, doc("how far beyond its limit a missing leg may be completed")] = Decimal(20)
    unwind_cap_bps: Annotated[Decimal, doc("how far beyond its price a filled leg may be undone")] = Decimal(50)
    residual: Annotated[
        Literal["proceed", "reverse", "hold"],
        doc("what unbalanced legs leave is completed if it can be, else undone; or undone, else completed; or held as inventory"),
    ] = "proceed"
    cap_step_bps: Annotated[
        Decimal, doc("how much further than the try before a try to flatten goes; 0: all of the cap at once")
    ] = Decimal(0)
    max_attempts: Annotated[Count, doc("tries to flatten one residual, then it is held as inventory")] = 3
    residual_ttl_ms: Annotated[
        Decimal,
        doc(
            "time from when a residual came to be, also beside an order of unknown fate, after which it is held, whatever tries are left; 0: for ever"
        ),
    ] = Decimal(0)
    unknown_wait_ms: Annotated[
        Decimal,
        doc("how long orders of unknown fate may keep a residual from being flattened; then what filled is undone; 0: for ever"),
    ] = Decimal(10_000)
    retry_ms: Annotated[Decimal, doc("pause before the next try where nothing could be sent or the venue said no")] = Decimal(500)
    max_cancels: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="cancels sent for an order that does not answer, an execution_timeout_ms apart")
    ] = 3
    max_levels: Annotated[int, msgspec.Meta(ge=1, le=5000, description="book levels that a leg may walk")] = 10
    budget: Annotated[
        dict[str, Decimal],
        doc("of each asset what it may spend, over all venues: this and what its fills brought; an asset left out is free"),
    ] = {}
    inventory_cost_bps: Annotated[
        dict[str, Decimal],
        doc(
            "by asset what moving it back to another venue costs, of its worth; deducted from the profit of a bundle that moves it away "
            "from its target (docs/inventory.md)"
        ),
    ] = {}
    max_exposure: Annotated[
        dict[str, Decimal],
        doc(
            "by asset the most that its fills may add up to, long or short, fees included, whatever part of its orders fills; orders that "
            "flatten are cut down to it"
        ),
    ] = {}
    price_band_bps: Annotated[
        Decimal, doc("how far a leg's price may lie from the median of all live venues' mids; 0 switches the rule off")
    ] = Decimal(0)
    max_symbol_open_quote: Annotated[
        Decimal | None, doc("notional that may still fill on one symbol over all venues, in each quote currency")
    ] = None
    max_venue_open_quote: Annotated[Decimal | None, doc("notional that may still fill on one venue, in each quote currency")] = None
    max_day_loss: Annotated[
        dict[str, Decimal],
        doc("by currency the most that may be lost in a UTC day; beyond it no bundle begins, whatever is restarted (`on_loss`)"),
    ] = {}
    max_drawdown: Annotated[
        dict[str, Decimal],
        doc("by currency the most that its result may lie below its highest; beyond it no bundle begins until a person resets it"),
    ] = {}
    max_bundle_loss: Annotated[
        dict[str, Decimal],
        doc(
            "by currency the most that one bundle may lose: one that would lose more at worst, by its limits and caps, does not begin; of one that "
            "has, by its fills as they are worth now, follows what `on_loss` says"
        ),
    ] = {}
    on_loss: Annotated[
        Literal["kill", "refuse"],
        doc(
            "what follows where one of these three is exceeded: trading is killed to `entries`, for all strategies, until `xarb kill LOG --reset`; "
            "or this strategy's bundles are refused, no more"
        ),
    ] = "kill"


def strategy_section(reader: Reader, raw: object, where: str) -> StrategyConfig:
    """A `[strategies.NAME]` table.

    Raises:
        ConfigError: as `Reader.section`, or a key is of another kind of strategy, or one that this kind must have is missing.
    """
    made = reader.section(raw, StrategyConfig, where)
    for key in sorted({key for keys in _ONLY.values() for key in keys}):
        kinds = [kind for kind, keys in _ONLY.items() if key in keys]
        if made.kind not in kinds and isinstance(raw, dict) and key in raw:
            raise ConfigError(
                f"{reader.path}: {where}.{key} is of strategies of kind {' and '.join(kinds)}, this one is {made.kind}"
            )
    for key in ("success_bps", "slip_bps"):
        check_part(getattr(made, key), f"{reader.path}: {where}.{key}")
    least, most = LEAST_LEGS.get(made.kind), MOST_LEGS.get(made.kind)
    if least is not None and most is not None and not least <= made.max_legs <= most:
        raise ConfigError(f"{reader.path}: {where}.max_legs = {made.max_legs}: allowed are {least} to {most}")
    if made.kind == "custom" and made.code is None:
        raise ConfigError(f'{reader.path}: {where}.code is missing: the file of the strategy, such as "mine.py"')
    if made.kind == "triangular":
        if not made.start_assets:
            raise ConfigError(f'{reader.path}: {where}.start_assets is missing: assets that go round, such as ["USDT"]')
        if not made.scan_ms and not made.every_row:
            raise ConfigError(f"{reader.path}: {where}.scan_ms = 0: without the scan it looks only where every_row = true")
    if made.kind == "cex_dex":
        _check_cex_dex(reader, made, raw, where)
    return made


def _check_cex_dex(reader: Reader, made: StrategyConfig, raw: object, where: str) -> None:
    """What cannot be of a swap whose other half is an order at an exchange."""
    if isinstance(raw, dict) and "sequence" in raw:
        raise ConfigError(f"{reader.path}: {where}.sequence is of legs at exchanges; what leaves first of cex_dex says `order`")
    if made.financing not in ("auto", "wallet"):
        raise ConfigError(
            f"{reader.path}: {where}.financing = {made.financing}: a loan, or the pool itself, must be paid back in the transaction that takes it, and the "
            "order at the exchange is not in that; the wallet pays (wallet, or auto, which is the same here)"
        )
