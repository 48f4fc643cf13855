"""Where live market data come from, as a person says it: a config file with `[markets.NAME]` tables, or venues and symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from xarb.config import Experiment, RecordConfig, RetentionConfig, load_experiment
from xarb.errors import ConfigError
from xarb.log.manifest import Manifest
from xarb.model.units import NANOS_PER_S
from xarb.settings import ts_of
from xarb.starts import LIVE
from xarb.venues.dex.endpoint import ChainPolicy
from xarb.venues.dex.feed import ChainSource
from xarb.venues.dex.lending import Lender
from xarb.venues.dex.reading import Factory
from xarb.venues.dex.rpc import RpcLimits
from xarb.venues.exchange import Place
from xarb.venues.feeds import AnySource, Source

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def market_sources(experiment: Experiment) -> list[Source]:
    """The sources that a config file names.

    Raises:
        ConfigError: it names no market, or one without symbols.
    """
    if not experiment.markets:
        raise ConfigError(f"{experiment.origin}: no [markets.NAME]: nothing says where market data come from")
    for name, one in experiment.markets.items():
        if not one.symbols:
            raise ConfigError(f"{experiment.origin}: markets.{name}.symbols is empty")
    return [
        Source(
            venue=name,
            exchange=one.exchange or name,
            symbols=one.symbols,
            channels=one.channels,
            place=Place(rest_url=one.rest_url, stream_url=one.stream_url),
            poll_s=None if one.price_update_interval_ms is None else float(one.price_update_interval_ms) / 1000,
        )
        for name, one in experiment.markets.items()
    ]


def exchanges_of(experiment: Experiment) -> list[Source]:
    """The exchanges of a config that is traded on; none where it has chains alone.

    Raises:
        ConfigError: as `market_sources`.
    """
    return market_sources(experiment) if experiment.markets or not experiment.chains else []


def traded_sources(experiment: Experiment) -> list[AnySource]:
    """The sources of a config that is traded on: markets and chains.

    Raises:
        ConfigError: as `market_sources`; or it does not say of a chain what is needed for sending there.
    """
    for name, one in experiment.sending.items():
        where = f"{experiment.origin}: chains.{name}.sending"
        if name not in experiment.onchain:
            raise ConfigError(f"{where}: there is no [onchain.{name}] that says what gas is paid in")
        if name not in experiment.accounts.get(one.account, {}):
            raise ConfigError(f"{where}.account = {one.account}: there is no [accounts.{one.account}.{name}]")
        allowed = {lender.lower() for lender in one.lenders}
        for who, lender in experiment.chain_lenders[name].items():
            if lender.address.lower() not in allowed:
                raise ConfigError(
                    f"{experiment.origin}: chains.{name}.lenders.{who}: {lender.address} is not among chains.{name}.sending.lenders, "
                    "so that nothing that borrows of it would leave"
                )
    for name, chain in experiment.onchain.items():
        if name not in experiment.chains:
            raise ConfigError(f"{experiment.origin}: onchain.{name}: there is no [chains.{name}] to follow")
        if chain.lenders:
            raise ConfigError(
                f"{experiment.origin}: onchain.{name}.lenders: what a loan costs is asked of the chain while it is followed; "
                f"[chains.{name}.lenders.WHO] says of whom"
            )
        if experiment.live.mode == LIVE and name not in experiment.sending:
            raise ConfigError(
                f"{experiment.origin}: onchain.{name}: there is no [chains.{name}.sending] that says how to trade there"
            )
    chains = chain_sources(experiment)
    return [*exchanges_of(experiment), *chains]


def chain_sources(experiment: Experiment) -> list[ChainSource]:
    """The chains that a config file names."""
    found = []
    for name, one in experiment.chains.items():
        factories = tuple(
            Factory(name=exchange, address=each.address.lower(), kind=each.kind, fee_ppm=each.fee_ppm)
            for exchange, each in experiment.chain_factories[name].items()
        )
        policy = ChainPolicy(
            limits=RpcLimits(message_mb=one.message_mb),
            silent_s=float(one.silent_ms) / 1000,
            lag_blocks=one.lag_blocks,
            lag_s=float(one.lag_ms) / 1000,
            disagree_s=float(one.disagree_ms) / 1000,
            history=one.history_blocks,
            reach=one.reach_blocks,
            refresh_s=float(one.refresh_ms) / 1000,
        )
        found.append(
            ChainSource(
                venue=name,
                chain_id=one.chain_id,
                rpc=one.rpc,
                pools=tuple(pool.lower() for pool in one.pools),
                factories=factories,
                lenders=tuple(
                    Lender(way=each.kind, address=each.address.lower(), tokens=tuple(token.lower() for token in each.tokens))
                    for each in experiment.chain_lenders[name].values()
                ),
                pending=one.pending,
                policy=policy,
            )
        )
    return found


class Recording(NamedTuple):
    """What is recorded, how, and how long the log keeps it."""

    sources: list[Source]
    chains: list[ChainSource]
    config: RecordConfig
    retention: RetentionConfig


def sources_of(words: Sequence[str], overrides: Mapping[str, str]) -> Recording:
    """The sources that the command line names, and how they are recorded.

    Args:
        words: a config file, or venues and symbols, each a comma-separated list.
        overrides: dotted keys of the file with TOML values as text.

    Raises:
        ConfigError: wrong use, or a file that cannot be used.
    """
    if len(words) == 1 and words[0].endswith(".toml"):
        experiment = load_experiment(Path(words[0]), overrides)
        chains = chain_sources(experiment)
        markets = market_sources(experiment) if experiment.markets or not chains else []
        return Recording(markets, chains, experiment.record, experiment.retention)
    if len(words) != 2:
        raise ConfigError(
            "give a config file with [markets.NAME] tables, or venues and symbols, such as: binance,okx BTC/USDT,ETH/USDT"
        )
    if overrides:
        raise ConfigError("--set overrides keys of a config file; there is none here")
    venues, symbols = (tuple(part for part in word.split(",") if part) for word in words)
    if not venues or not symbols:
        raise ConfigError(
            f"{' '.join(words)}: venues and symbols are comma-separated lists, such as: binance,okx BTC/USDT,ETH/USDT"
        )
    sources = [Source(venue=venue, exchange=venue, symbols=symbols) for venue in dict.fromkeys(venues)]
    return Recording(sources, [], RecordConfig(), RetentionConfig())


def seconds_of(text: str) -> float:
    """A duration such as `90s`, `30m`, `12h` or `7d`, in seconds.

    Raises:
        ConfigError: no such duration, or none at all.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise ConfigError(
            f"duration {text}: allowed are numbers above 0 with a unit: {', '.join(f'30{unit}' for unit in _SECONDS)}"
        )
    return seconds


def cut_of(log: Path, before: str | None, keep: str | None) -> int:
    """The time, in ns, before which a log is pruned: an ISO 8601 time, or a duration counted back from the log's last sealed input.

    Raises:
        ConfigError: not exactly one of both, or it is none.
        LogError: the manifest is damaged.
    """
    if (before is None) is (keep is None):
        raise ConfigError("give one of --before TIME and --keep T")
    if before is not None:
        return ts_of(before, "--before")
    return Manifest(log).last_ts - round(seconds_of(keep or "") * NANOS_PER_S)
