"""The serve verb: options to a plan, the first lines of output, signals, and the loop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from xarb.console import Table, say, show
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.serve.certificates import AUTHORITY, tls_context
from xarb.serve.clock import WallClock
from xarb.serve.config import DEMO_KEY, DEMO_SECRET, demo_config, load_config
from xarb.serve.faults import load_faults
from xarb.serve.server import HOSTS, Plan, Server
from xarb.settings import ts_of
from xarb.sources import seconds_of


class Options(NamedTuple):
    """The options of the command, as they are written."""

    wires: Sequence[str] = ()
    speed: str = "1"
    config: Path | None = None
    faults: Path | None = None
    requests: Path | None = None
    tls: Path | None = None
    skip_to: str | None = None
    duration: str | None = None
    at_once: bool = False


def serve(log: Path, venues: Sequence[str], ports: Sequence[str], options: Options) -> None:
    """Serve venues of a log until SIGINT, SIGTERM or the end of `duration`.

    Raises:
        ConfigError: an option or a file does not fit.
        LogError: the log is damaged.
    """
    clock = WallClock(_positive("--speed", options.speed))
    seconds = None if options.duration is None else seconds_of(options.duration)
    with LogReader(log) as reader:
        chosen = list(venues) or sorted({one.venue for one in reader.instruments if one.kind == "spot"})
        config = (
            demo_config(one for one in reader.instruments if one.venue in chosen)
            if options.config is None
            else load_config(options.config)
        )
        wires = _wires(chosen, options.wires)
        plan = Plan(
            venues=list(zip(chosen, _ports(chosen, ports), strict=True)),
            config=config,
            wires=wires,
            faults=() if options.faults is None else load_faults(options.faults),
            requests=options.requests,
            tls=None if options.tls is None else tls_context(options.tls, _hosts(wires)),
            at_once=options.at_once,
            skip_to=None if options.skip_to is None else ts_of(options.skip_to, "--skip-to"),
        )
        server = Server(reader, plan, clock)
        _run_loop(_run(server, options, seconds))


async def _run(server: Server, options: Options, seconds: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        _announce(server, options)
        if seconds is not None:
            loop.call_later(seconds, stop.set)
        await server.serve(stop)
    say(f"served {server.market.applied} rows; {len(server.desk.ledger)} movements of money are in the ledger")


def _announce(server: Server, options: Options) -> None:
    rows = tuple((one.venue, one.wire, str(one.port), one.rest, one.streams, one.requests) for one in server.addresses)
    show([Table("Listening", ("venue", "wire", "port", "rest", "streams", "requests"), rows)])
    sys.stdout.flush()
    if options.config is None:
        say(f"account demo: API key {DEMO_KEY}, secret and passphrase {DEMO_SECRET}; own accounts and fees with --config")
    if options.tls is not None:
        say(f"clients must trust {options.tls / AUTHORITY}")
    if server.reader.is_open:
        say("the log is still being written, or its writer died: what was sealed when the server started is served")
    say("the market has begun" if options.at_once else "the market begins at the first request; stop with Ctrl-C")


def _ports(venues: Sequence[str], ports: Sequence[str]) -> list[int]:
    """A port for each venue: one given is the first's, and the following ones are taken for the others; 0 is a free one."""
    for port in ports:
        if not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"--port {port}: must be a number from 0 to 65535")
    given = [int(port) for port in ports]
    if len(given) == len(venues):
        return given
    if len(given) > 1:
        raise ConfigError(f"{len(given)} ports for {len(venues)} venues ({', '.join(venues)}): give one for each, or one alone")
    first = given[0] if given else 0
    return [first + number if first else 0 for number in range(len(venues))]


def _wires(venues: Sequence[str], wires: Sequence[str]) -> dict[str, str]:
    """The protocol of each venue: one given is that of all, none is Binance's."""
    for wire in wires:
        if wire not in HOSTS:
            raise ConfigError(f"--wire {wire}: allowed are {', '.join(HOSTS)}")
    given = list(wires) or ["binance"]
    if len(given) == 1:
        given *= len(venues)
    if len(given) != len(venues):
        raise ConfigError(f"{len(given)} wires for {len(venues)} venues ({', '.join(venues)}): give one for each, or one for all")
    return dict(zip(venues, given, strict=True))


def _hosts(wires: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(host for wire in wires.values() for host in HOSTS[wire]))


def _positive(name: str, text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1_000_000:
        raise ConfigError(f"{name} {text}: must be a number above 0, such as 1 or 0.5, at most 1000000")
    return value


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on the fastest event loop that is there."""
    try:
        import uvloop
    except ImportError:  # no wheels for this platform
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


__all__ = ["Options", "serve"]
