"""Experiment files: TOML to frozen structs, one default per key in one place, and where each effective value came from.

Numbers with a decimal point are read as decimal text, never as floats. A key that is not known or a value that cannot be read is an
error that names the key and what is allowed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from xarb import toml
from xarb.config.breakers import BreakerConfig
from xarb.config.chains import AskedLenderConfig, ChainConfig, FactoryConfig, check_chain, check_lenders
from xarb.config.fitted import ModelFile, with_model
from xarb.config.inventory import InventoryConfig, check_shares
from xarb.config.kinds import Count, doc
from xarb.config.latency import LatencyConfig
from xarb.config.onchain import OnChain, onchain_section
from xarb.config.reader import Reader, shown
from xarb.config.secret import refuse_secrets
from xarb.config.sending import SendingConfig, check_sending
from xarb.config.strategies import StrategyConfig, strategy_section
from xarb.config.sweep import SweepConfig
from xarb.config.watch import AlertConfig, WatchConfig
from xarb.errors import ConfigError

Source = Literal["deltas", "books", "quotes"]


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[feeds]`, and `[venues.NAME.feeds]` for one venue: what makes a quote usable (docs/validation.md)."""

    liveness_ms: Annotated[Decimal, doc("silence of the connection after which its feeds are stale")] = Decimal(1000)
    cache_ms: Annotated[Decimal, doc("age beyond which a quote leaves the state, live connection or not")] = Decimal(300_000)
    max_latency_ms: Annotated[Decimal, doc("receive time minus venue time above which a row is late")] = Decimal(500)
    future_ms: Annotated[Decimal, doc("how far a venue time may lie after the receive time")] = Decimal(50)
    freeze_ms: Annotated[Decimal, doc("unchanged for so long while peers move: frozen; 0 switches the rule off")] = Decimal(300_000)
    freeze_moves: Annotated[Count, doc("changes of the peers that make an unchanged quote suspicious")] = 20
    outlier_mads: Annotated[
        Count, doc("median absolute deviations from the cross-venue median beyond which a mid is an outlier")
    ] = 8
    outlier_floor_bps: Annotated[Decimal, doc("distance from the median that is never an outlier")] = Decimal(200)
    jump_bps: Annotated[
        Decimal, doc("departure from the usual distance from the median, in one move, that is a jump; 0 switches the rule off")
    ] = Decimal(75)
    jump_ms: Annotated[Decimal, doc("a jump that lasts so long is the new usual distance")] = Decimal(30_000)
    spread_multiple: Annotated[Count, doc("multiples of its median spread beyond which a spread is flagged")] = 20
    off_market_bps: Annotated[Decimal, doc("distance of a trade or second source from the book that is flagged")] = Decimal(100)
    dense_trade_ids: Annotated[bool, doc("the venue numbers its trades without holes, so that a hole is a loss")] = False
    quality_floor: Annotated[
        int, msgspec.Meta(ge=0, le=1000, description="score of 0 to 1000 below which a feed is not traded")
    ] = 500
    score_ms: Annotated[Decimal, doc("interval of the quality score")] = Decimal(1000)
    head_ms: Annotated[Decimal, doc("time without a block of a chain after which its pools are stale")] = Decimal(60_000)


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venues.NAME]`: how the venue is simulated, and what it charges."""

    fees: Annotated[str, doc("name of a fee schedule in data/fees.toml or in fees_file; there is no default")]
    model: Annotated[
        str | None,
        doc(
            "model file of `xarb calibrate`, relative to the file: it says what this section does not say itself (docs/calibrate.md)"
        ),
    ] = None
    model_sha256: Annotated[str | None, doc("digest that the model file must have; a run notes it anyway")] = None
    order_latency: Annotated[LatencyConfig, doc("decision to arrival at the venue")] = LatencyConfig(
        uniform_ms=(Decimal(80), Decimal(120))
    )
    feed_latency: Annotated[LatencyConfig, doc("event at the venue to its row here")] = LatencyConfig(constant_ms=Decimal(5))
    response_latency: Annotated[LatencyConfig, doc("event at the venue to its report here")] = LatencyConfig(
        constant_ms=Decimal(20)
    )
    assumed_qty: Annotated[Decimal | None, doc("size assumed, in base units, where a quote has none; optimistic")] = None
    rate_limit_per_s: Annotated[Count | None, doc("orders per account and second that the venue takes")] = 10
    reject_bps: Annotated[
        dict[str, Decimal] | None,
        doc(
            "by reason, orders of 10,000 that the venue refuses for what is not simulated, such as { invalid_order = 5 }; none: no order"
        ),
    ] = None
    fill_share_bps: Annotated[
        tuple[Decimal, ...] | None,
        doc(
            "what an IOC or FOK order gets of what the shown book would fill, drawn evenly from measured shares; none: 10000, all of it"
        ),
    ] = None
    outages: Annotated[tuple[tuple[str, str], ...], doc("spans of ISO 8601 times in which the venue rejects orders")] = ()
    allow_not_transferable: Annotated[
        tuple[str, ...], doc("assets that are traded there although the venue says that deposits or withdrawals are suspended")
    ] = ()
    book_source: Annotated[
        Source | None, doc("rows that move the book; else deltas, then books, then quotes, whatever the log has")
    ] = None
    feeds: Annotated[dict[str, Any], doc("keys of [feeds] that differ on this venue")] = {}
    breakers: Annotated[dict[str, Any], doc("keys of [breakers] that differ on this venue")] = {}


class MarketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[markets.NAME]`: where the market data of venue NAME come from when they are recorded or traded on."""

    exchange: Annotated[str | None, doc("the exchange, as `xarb venues` lists them; none: the venue's name")] = None
    symbols: Annotated[tuple[str, ...], doc("unified symbols, such as BTC/USDT or BTC/USDT:USDT; there is no default")]
    channels: Annotated[
        tuple[Literal["quotes", "deltas", "books", "trades", "marks"], ...], doc("what to subscribe; none means all there is")
    ] = ()
    rest_url: Annotated[str | None, doc("origin of a served exchange, such as http://127.0.0.1:9001; none: the real one")] = None
    stream_url: Annotated[str | None, doc("origin of its stream, such as ws://127.0.0.1:9001; none: the real one")] = None
    price_update_interval_ms: Annotated[
        Decimal | None, doc("ask for the latest state this often, through ccxt, in place of a stream; what comes between is lost")
    ] = None


class RecordConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[record]`: how live market data are recorded (docs/record.md)."""

    frames: Annotated[bool, doc("keep every raw message too, so that a mended decoder can derive the events again")] = True
    frames_free_mb: Annotated[Count, doc("free disk space, in MB, below which raw messages are left out")] = 2000
    max_age_ms: Annotated[
        Decimal, doc("no quote or book of an instrument for so long: its connection is made anew; 0 switches it off")
    ] = Decimal(300_000)
    instruments_ms: Annotated[
        Count,
        doc(
            "time after which exchanges are asked anew what they say of the instruments, also while trading; 0: at the start alone"
        ),
    ] = 600_000


class LiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[live]`: how a config is traded (docs/live.md)."""

    mode: Annotated[Literal["paper", "live"], doc("paper: fills are simulated; live: orders go to the exchanges")] = "paper"
    strict: Annotated[bool, doc("orders leave only when the disk has everything before them, not only the operating system")] = (
        False
    )
    stop_ms: Annotated[
        Decimal, doc("how long a stop lets open bundles come to their end; then their orders are canceled, with as long again")
    ] = Decimal(10_000)
    max_clock_offset_ms: Annotated[
        Count, doc("distance of an exchange's clock from ours beyond which no start trades for real, and a running one disarms")
    ] = 50
    request_timeout_ms: Annotated[Count, doc("time after which a request without a reply has an unknown fate")] = 5_000
    settle_ms: Annotated[
        int,
        msgspec.Meta(
            ge=100,
            le=600_000,
            description="time for which an exchange may not know an order, or not list its fill, after it took it: an order that it"
            " does not know is given up no sooner; at least twice the longest time that a request takes",
        ),
    ] = 2_000
    max_send_lag_ms: Annotated[
        Count, doc("age, from the message that led to it, beyond which an order is not sent any more, but told as `not_sent`")
    ] = 1_000
    wallets_ms: Annotated[
        int,
        msgspec.Meta(ge=1_000, le=10**9, description="time after which the exchanges are asked anew which networks are open"),
    ] = 600_000
    fees_ms: Annotated[
        int,
        msgspec.Meta(ge=1_000, le=10**9, description="time after which the exchanges are asked anew what the accounts pay"),
    ] = 3_600_000
    cancel_after_ms: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=10**6,
            description="exchanges that can do so cancel everything of the account, others' orders too, when they hear nothing of us for"
            " so long (OKX: 10000 to 120000); 0: never",
        ),
    ] = 60_000
    max_loop_lag_ms: Annotated[
        Count, doc("lag of the event loop beyond which no new bundles are sent (a kill to `entries`); 0 switches the rule off")
    ] = 10_000
    max_clock_jump_ms: Annotated[
        Count,
        doc("step of this machine's clock beyond which no new bundles are sent (a kill to `entries`); 0 switches the rule off"),
    ] = 1_000
    hang_ms: Annotated[
        int,
        msgspec.Meta(
            ge=1_000,
            le=10**7,
            description="silence of the event loop after which a process beside it cancels all orders and ends it (a kill to `stop`)",
        ),
    ] = 20_000
    keys: Annotated[
        dict[str, str], doc("by ACCOUNT.VENUE a private file of API keys, relative to the file; else they are in the environment")
    ] = {}
    allow_withdraw: Annotated[tuple[str, ...], doc("accounts whose keys may be ones that can withdraw; others are refused")] = ()


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`: how long a log that is recorded or traded on keeps its inputs (docs/log.md); orders and money are kept for ever."""

    frames_days: Annotated[Count, doc("whole days that raw messages are kept; 0: for ever")] = 0
    inputs_days: Annotated[
        Count, doc("whole days that the engine's inputs are kept, and what was decided on them can be proven; 0: for ever")
    ] = 0


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[run]`: what is run."""

    log: Annotated[str | None, doc("log to replay, relative to the file; --log wins")] = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="seed of every random draw")] = 1
    start: Annotated[str | None, doc("ISO 8601 time: rows before it are left out")] = None
    end: Annotated[str | None, doc("ISO 8601 time: rows from it on are left out")] = None
    coin_margin_bps: Annotated[Decimal, doc("fall of a fee coin's bid until the fill for which a reservation provides")] = Decimal(
        100
    )
    currencies: Annotated[
        tuple[str, ...], doc("currencies in which profit is stated, in order; else those of the instruments")
    ] = ()
    fees_file: Annotated[str | None, doc("fee schedules beside those that ship, relative to the file")] = None
    assets_file: Annotated[str | None, doc("assets in place of those that ship, relative to the file")] = None


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """A whole experiment file, checked.

    `sources` says for each dotted key whether it stands in the file or is a default, `overrides` what was given in its place.
    """

    origin: str
    name: str
    folder: Path
    run: RunConfig
    feeds: FeedConfig
    venue_feeds: dict[str, FeedConfig]
    breakers: BreakerConfig
    venue_breakers: dict[str, BreakerConfig]
    venues: dict[str, VenueConfig]
    accounts: dict[str, dict[str, dict[str, Decimal]]]
    inventory: InventoryConfig
    pegs: dict[str, Decimal]
    rates: dict[str, str]
    strategies: dict[str, StrategyConfig]
    markets: dict[str, MarketConfig]
    chains: dict[str, ChainConfig]
    chain_factories: dict[str, dict[str, FactoryConfig]]
    chain_lenders: dict[str, dict[str, AskedLenderConfig]]
    sending: dict[str, SendingConfig]
    onchain: dict[str, OnChain]
    record: RecordConfig
    live: LiveConfig
    retention: RetentionConfig
    watch: WatchConfig
    alerts: tuple[AlertConfig, ...]
    sweep: SweepConfig
    sources: dict[str, str]
    overrides: dict[str, str]


class Setting(NamedTuple):
    """One effective value: its dotted key, the value as text, and where it comes from."""

    key: str
    value: str
    source: str


_SECTIONS: Final = (
    "run",
    "feeds",
    "breakers",
    "venues",
    "accounts",
    "inventory",
    "pegs",
    "rates",
    "strategies",
    "markets",
    "chains",
    "onchain",
    "record",
    "live",
    "retention",
    "watch",
    "alerts",
    "sweep",
)
FILE: Final = "file"
DEFAULT: Final = "default"


class Draft(NamedTuple):
    """An experiment file as it was read once: many experiments are made of it, whatever becomes of the file."""

    path: Path
    raw: dict[str, Any]
    models: dict[Path, ModelFile]  # model files as they were read first

    def experiment(self, overrides: Mapping[str, str] | None = None) -> Experiment:
        """Check it with these overrides, as `load_experiment`.

        Raises:
            ConfigError: as `load_experiment`.
        """
        return _checked(self.path, copy.deepcopy(self.raw), overrides or {}, self.models)


def read_draft(path: Path) -> Draft:
    """Read an experiment file, unchecked.

    Raises:
        ConfigError: unreadable.
    """
    return Draft(path, toml.read(path, parse_float=str), {})


def load_experiment(path: Path, overrides: Mapping[str, str] | None = None) -> Experiment:
    """Read and check an experiment file; `overrides` are dotted keys with TOML values as text, as given on the command line.

    Raises:
        ConfigError: unreadable, an unknown key, a value that cannot be read; names file, key and what is allowed.
    """
    return read_draft(path).experiment(overrides)


def _checked(path: Path, raw: dict[str, Any], overrides: Mapping[str, str], models: dict[Path, ModelFile]) -> Experiment:
    given = {key: FILE for key, _ in _leaves(raw)}
    for key, text in overrides.items():
        _override(raw, key, text)
        given[key] = "command line"
    refuse_secrets(path, raw)
    for key in raw:
        if key not in _SECTIONS:
            raise ConfigError(f"{path}: unknown section {key!r}; allowed: {', '.join(_SECTIONS)}")
    reader = Reader(path, given)
    run = reader.section(raw.get("run", {}), RunConfig, "run")
    feeds = reader.section(raw.get("feeds", {}), FeedConfig, "feeds")
    venues = {
        name: reader.section(with_model(reader, name, part, models), VenueConfig, f"venues.{name}")
        for name, part in reader.table(raw, "venues")
    }
    breakers = reader.section(raw.get("breakers", {}), BreakerConfig, "breakers")
    merged = {
        name: reader.section(raw.get("feeds", {}) | v.feeds, FeedConfig, f"venues.{name}.feeds") for name, v in venues.items()
    }
    merged_breakers = {
        name: reader.section(raw.get("breakers", {}) | v.breakers, BreakerConfig, f"venues.{name}.breakers")
        for name, v in venues.items()
    }
    chains, factories = _chains(reader, raw)
    inventory = reader.section(raw.get("inventory", {}), InventoryConfig, "inventory")
    check_shares(inventory, str(path))
    return Experiment(
        origin=str(path),
        name=path.stem,
        folder=path.parent,
        run=run,
        feeds=feeds,
        venue_feeds=merged,
        breakers=breakers,
        venue_breakers=merged_breakers,
        venues=venues,
        accounts=reader.amounts(raw.get("accounts", {}), dict[str, dict[str, dict[str, Decimal]]], "accounts"),
        inventory=inventory,
        pegs=reader.amounts(raw.get("pegs", {}), dict[str, Decimal], "pegs"),
        rates=reader.convert(raw.get("rates", {}), dict[str, str], "rates"),
        strategies={name: strategy_section(reader, part, f"strategies.{name}") for name, part in reader.table(raw, "strategies")},
        markets={name: reader.section(part, MarketConfig, f"markets.{name}") for name, part in reader.table(raw, "markets")},
        chains=chains,
        chain_factories=factories,
        chain_lenders=_lenders(reader, raw),
        sending=_sending(reader, chains),
        onchain={name: onchain_section(reader, part, name) for name, part in reader.table(raw, "onchain")},
        record=reader.section(raw.get("record", {}), RecordConfig, "record"),
        live=reader.section(raw.get("live", {}), LiveConfig, "live"),
        retention=reader.section(raw.get("retention", {}), RetentionConfig, "retention"),
        watch=reader.section(raw.get("watch", {}), WatchConfig, "watch"),
        alerts=tuple(reader.sections(raw, "alerts", AlertConfig)),
        sweep=reader.section(raw.get("sweep", {}), SweepConfig, "sweep"),
        sources=reader.sources,
        overrides=dict(overrides),
    )


def _sending(reader: Reader, chains: Mapping[str, ChainConfig]) -> dict[str, SendingConfig]:
    """How transactions are sent, by chain; none where a chain does not say."""
    found: dict[str, SendingConfig] = {}
    for name, one in chains.items():
        if one.sending:
            where = f"chains.{name}.sending"
            found[name] = reader.section(one.sending, SendingConfig, where)
            check_sending(found[name], reader.place(where))
    return found


def _lenders(reader: Reader, raw: dict[str, Any]) -> dict[str, dict[str, AskedLenderConfig]]:
    """The lenders that are asked, by chain and name."""
    found: dict[str, dict[str, AskedLenderConfig]] = {}
    for name, part in reader.table(raw, "chains"):
        where = f"chains.{name}"
        found[name] = {
            who: reader.section(one, AskedLenderConfig, f"{where}.lenders.{who}") for who, one in reader.table(part, "lenders")
        }
        check_lenders(found[name], reader.place(where))
    return found


def _chains(reader: Reader, raw: dict[str, Any]) -> tuple[dict[str, ChainConfig], dict[str, dict[str, FactoryConfig]]]:
    """The chains by name, and their factories by chain and name."""
    chains: dict[str, ChainConfig] = {}
    factories: dict[str, dict[str, FactoryConfig]] = {}
    for name, part in reader.table(raw, "chains"):
        chains[name] = reader.section(part, ChainConfig, f"chains.{name}")
        factories[name] = {
            exchange: reader.section(one, FactoryConfig, f"chains.{name}.factories.{exchange}")
            for exchange, one in reader.table(part, "factories")
        }
        check_chain(chains[name], factories[name], reader.place(f"chains.{name}"))
        if name in raw.get("markets", {}):
            raise ConfigError(f"{reader.place(f'chains.{name}')}: [markets.{name}] is another venue of that name")
    return chains, factories


def settings(experiment: Experiment) -> list[Setting]:
    """Every effective value with its source, in file order of the sections."""
    found: list[Setting] = []
    for section in _SECTIONS:
        for key, value in _leaves({section: msgspec.to_builtins(getattr(experiment, section), builtin_types=(Decimal,))}):
            if value is not None and value != {} and ".feeds." not in key and ".breakers." not in key:
                found.append(Setting(key, shown(value), experiment.sources.get(key, DEFAULT)))
    own: list[tuple[str, msgspec.Struct]] = [(f"venues.{venue}.feeds", one) for venue, one in experiment.venue_feeds.items()]
    own += [(f"venues.{venue}.breakers", one) for venue, one in experiment.venue_breakers.items()]
    for where, part in own:
        for key, value in _leaves(msgspec.to_builtins(part, builtin_types=(Decimal,))):
            dotted = f"{where}.{key}"
            if dotted in experiment.sources:
                found.append(Setting(dotted, shown(value), experiment.sources[dotted]))
    return found


def _override(raw: dict[str, Any], key: str, text: str) -> None:
    """Put a value in a dotted key's place; of a list an entry is named by its number, from 0, or of tables by their `name`.

    What begins with 0x is text: addresses are written so, numbers of a config are not.
    """
    *path, last = key.split(".")
    place: Any = raw
    for part in path:
        place = place[_number(place, key, part)] if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"{key}: {part} is no table")
    try:
        value = text if text.startswith("0x") else toml.loads(f"value = {text}", parse_float=str)["value"]
    except ValueError:
        value = text
    place[_number(place, key, last) if isinstance(place, list) else last] = value


def _number(entries: list[Any], key: str, part: str) -> int:
    """Which entry of a list a part of a dotted key names.

    Raises:
        ConfigError: none; it says which there are.
    """
    if part.isascii() and part.isdigit() and int(part) < len(entries):
        return int(part)
    names = [one.get("name") if isinstance(one, dict) else None for one in entries]
    if part in names:
        return names.index(part)
    there = f"0 to {len(entries) - 1}" if entries else "none"
    named = ", ".join(str(name) for name in names if name is not None)
    raise ConfigError(f"{key}: {part} is no entry of that list; there are {there}{f', or {named}' if named else ''}")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
