"""Writes the pages that are made from code: the command line, config keys, events, SQL, layers, life cycles, exchanges.

`python docs/generate.py` writes them, `--check` only says which are stale (exit code 1).
"""

from __future__ import annotations

import ast
import configparser
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_type_hints

import msgspec
import typer.main

from xarb import config
from xarb.cli import app
from xarb.config import breakers, chains, inventory, latency, onchain, reader, sending, strategies, sweep, watch
from xarb.engine.kernel.life import FEED_LIFE
from xarb.log.manifest import Header
from xarb.log.writer import LogWriter
from xarb.model.columns import TABLES, Table
from xarb.model.order import BREAKER_LIFE, BUNDLE_LIFE, CYCLE_LIFE, LEG_LIFE, ORDER_LIFE, TRANSACTION_LIFE
from xarb.sql.connection import open_query
from xarb.sql.examples import EXAMPLES
from xarb.sql.views import MACROS
from xarb.wires import binance, bitstamp, bybit, coinbase, gate, kraken, kucoin, okx, upbit
from xarb.wires.exchanges import WIRES

DOCS: Final = Path(__file__).resolve().parent
_MADE: Final = "<!-- made by docs/generate.py from the code; do not edit -->\n"
_WIDTH: Final = "100"


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that is shown, in the order of the help; a group's own help is left out but for the first."""
    group = group or typer.main.get_command(app)
    if not words:
        yield ()
    for name, command in group.commands.items():
        if not command.hidden:
            is_group = hasattr(command, "commands")
            yield from commands(command, (*words, name)) if is_group else [(*words, name)]


def commands_page() -> str:
    """Help of every command, as it is printed."""
    parts = [_MADE, "# The command line\n"]
    environment = os.environ | {"COLUMNS": _WIDTH, "TERMINAL_WIDTH": _WIDTH, "NO_COLOR": "1"}
    for words in commands():
        command = [sys.executable, "-m", "xarb", *words, "--help"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=DOCS.parent).stdout  # noqa: S603  # our own command
        text = "\n".join(line.rstrip() for line in text.replace("python -m xarb", "xarb").strip().splitlines())
        parts.append(f"## {' '.join(('xarb', *words))}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def config_page() -> str:
    """Every key of an experiment file with type, default and meaning."""
    parts = [_MADE, "# Experiment files: every key\n"]
    parts.append(
        "Decimal numbers may be written as TOML numbers or text; they are read exactly. `xarb config show` prints the effective values of a file.\n"
    )
    sections = (
        (config.RunConfig, "[run]"),
        (config.FeedConfig, "[feeds], [venues.NAME.feeds]"),
        (breakers.BreakerConfig, "[breakers], [venues.NAME.breakers]"),
        (config.VenueConfig, "[venues.NAME]"),
        (latency.LatencyConfig, "a latency, such as order_latency = { uniform_ms = [80, 120] }"),
        (strategies.StrategyConfig, "[strategies.NAME]"),
        (config.MarketConfig, "[markets.NAME]"),
        (chains.ChainConfig, "[chains.NAME]"),
        (chains.FactoryConfig, "[chains.NAME.factories.EXCHANGE]"),
        (chains.AskedLenderConfig, "[chains.NAME.lenders.WHO]"),
        (sending.SendingConfig, "[chains.NAME.sending]"),
        (onchain.OnChainConfig, "[onchain.NAME]"),
        (onchain.LenderConfig, "[onchain.NAME.lenders.WHO]"),
        (onchain.SimulatedChainConfig, "[onchain.NAME.simulated]"),
        (config.RecordConfig, "[record]"),
        (config.LiveConfig, "[live]"),
        (config.RetentionConfig, "[retention]"),
        (inventory.InventoryConfig, "[inventory]"),
        (sweep.SweepConfig, "[sweep]"),
        (watch.WatchConfig, "[watch]"),
        (watch.AlertConfig, "[[alerts]]"),
    )
    for section, title in sections:
        rows = [_config_row(section, field) for field in msgspec.structs.fields(section)]
        parts.append(f"## {title}\n\n| key | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n")
    parts.append(_OTHER_SECTIONS)
    return "\n".join(parts)


_OTHER_SECTIONS: Final = """## [accounts.NAME.VENUE]

Opening balances of an account on a venue: `ASSET = amount`.

## [pegs]

`USD = 1`, `USDT = 1`, `KRW = 0.00072`: what one unit of an asset is worth in a unit common to all of them, for reports only. Two
instruments that only pegs make comparable are recorded as a premium and never traded.

## [rates]

`"BNB/USDT@binance" = "BNB"`: instruments that price the third coin in which their venue takes its fees.
"""


def _config_row(section: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> str:
    default = (
        "**required**" if field.required else f"`{_shown(field.default)}`" if field.default is not msgspec.NODEFAULT else "none"
    )
    return f"| `{field.name}` | {default} | {reader.describe(section, field.name)}{_allowed(section, field.name)} |"


def _allowed(section: type[msgspec.Struct], name: str) -> str:
    words = reader.choices(get_type_hints(section)[name])
    return f" ({', '.join(words)})" if words else ""


def _shown(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        return ", ".join(
            f"{name} = {_shown(getattr(value, name))}" for name in value.__struct_fields__ if getattr(value, name) is not None
        )
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(part) for part in value) + "]"
    return "none" if value is None else str(value)


def events_page() -> str:
    """Every table of the log."""
    parts = [_MADE, "# Events: every table of a log\n"]
    parts.append(
        "Inputs carry `seq`, outputs `(after_seq, n)`. Columns that end in `_int` are integers at the scale that the row names.\n"
    )
    for title, is_input in (("Inputs", True), ("Outputs", False)):
        parts.append(f"## {title}\n")
        parts += [_event(table) for table in TABLES.values() if table.is_input is is_input]
    return "\n".join(parts)


def _event(table: Table) -> str:
    rows = []
    for column in table.columns:
        words = f" ({', '.join(column.values)})" if column.values else ""
        rows.append(f"| `{column.name}` | {column.type.value} | {'yes' if column.nullable else ''} | {column.doc}{words} |")
    return (
        f"### {table.name}\n\n{table.doc}\n\n| column | type | null | meaning |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


def life_page() -> str:
    """Diagrams of the life cycles, from the tables that the code walks."""
    parts = [_MADE, "# Life cycles\n"]
    lives = (
        ("Order", ORDER_LIFE),
        ("Leg", LEG_LIFE),
        ("Bundle", BUNDLE_LIFE),
        ("Transaction", TRANSACTION_LIFE),
        ("Cycle on a chain", CYCLE_LIFE),
        ("Breaker", BREAKER_LIFE),
        ("Feed", FEED_LIFE),
    )
    for title, table in lives:
        parts.append(f"## {title}\n\n{_diagram(table)}")
    return "\n".join(parts)


def _diagram(table: Mapping[tuple[str, str], str]) -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in table.items():
        arrows.setdefault((state, after), []).append(event)
    lines = [f"    {state} --> {after}: {', '.join(events)}" for (state, after), events in arrows.items()]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```\n"


SESSIONS: Final[tuple[ModuleType, ...]] = (binance, okx, bybit, kraken, coinbase, kucoin, gate, bitstamp, upbit)


def wires_page() -> str:
    """The exchanges whose stream is decoded by this project: what each offers, and the rules of its session."""
    rows = [
        f"| {wire.venue} | {', '.join(wire.markets) or 'all'} | {', '.join(wire.channels)} | {wire.continuity} | {wire.max_instruments} "
        f"| {wire.silence_s} s | {wire.documentation} |"
        for wire in WIRES.values()
    ]
    about = (
        "One session a connection turns frames into events: prices and sizes become integers from their text, each book message says\n"
        "whether it continues its book, a break is a `gap` row, and the next snapshot a `resync`. Bad input is a `rejects` row with its text.\n"
        "Markets are ccxt's words; a venue id that ccxt does not know is one service of an exchange that has several.\n"
    )
    head = "| venue | markets | channels | continuity | instruments a connection | silent for at most | documentation |\n"
    parts = [
        _MADE,
        "# Exchanges: what is decoded, and what proves that nothing is missing\n",
        about,
        f"{head}| --- | --- | --- | --- | --- | --- | --- |\n" + "\n".join(rows) + "\n",
    ]
    for module in SESSIONS:
        title, _, rest = (inspect.getdoc(module) or "").partition("\n\n")
        parts.append(f"## {title.partition(':')[0].replace(chr(10), ' ')}\n\n{rest}\n")
    return "\n".join(parts)


def sql_page() -> str:
    """Every view with its columns, every macro, and queries to start from."""
    parts = [
        _MADE,
        "# SQL views and macros\n",
        "What `xarb query` and `xarb.query` have. [Ask in SQL](query.md) says how to use them; [Events](events.md) says what the columns mean.\n",
        "## Macros\n",
        "| macro | is |\n| --- | --- |\n" + "\n".join(f"| `{signature}` | {_cell(body)} |" for signature, body in MACROS) + "\n",
        "## Views\n",
        "| view | columns |\n| --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder, open_query([_empty_log(Path(folder))]) as query:
        rows = [f"| `{view}` | {', '.join(f'`{name}` {kind}' for name, kind in query.columns(view))} |" for view in query.views]
    parts[-1] += "\n" + "\n".join(rows) + "\n"
    parts.append("## Queries to start from\n")
    parts += [f"{example.title} (on a {_OPEN[example.needs]}):\n\n```sql\n{example.sql}\n```\n" for example in EXAMPLES]
    return "\n".join(parts)


_OPEN: Final = {"log": "log", "run": "run", "both": "run beside its log"}
_LONGEST: Final = 160


def _cell(sql: str) -> str:
    """SQL in a table's cell, unless it is too long to be read there."""
    return f"`{sql}`" if len(sql) <= _LONGEST else f"`{sql[:_LONGEST]}` ..."


def _empty_log(folder: Path) -> Path:
    """A log without rows, whose views have their columns."""
    with LogWriter.create(folder / "log", Header(kind="log", log_id="empty")):
        pass
    return folder / "log"


def layers_page() -> str:
    """The layers of the package and the parts within them, as the import contracts have them."""
    contracts = configparser.ConfigParser()
    contracts.read(DOCS.parent / ".importlinter")
    parts = [
        _MADE,
        "# Layers\n",
        "Made from the import contracts, which every build checks: a part imports from layers below its own, never from above, nor from its neighbours.\n",
    ]
    for section in contracts.sections():
        if contracts[section].get("type") == "layers":
            parts.append(f"## {contracts[section]['name']}\n\n{_layers(contracts[section])}")
    parts.append("## What else is forbidden\n")
    forbidden = [contracts[one]["name"] for one in contracts.sections() if contracts[one].get("type") == "forbidden"]
    return "\n".join(parts) + "\n" + "\n".join(f"- {name}." for name in forbidden) + "\n"


def _layers(contract: configparser.SectionProxy) -> str:
    """A diagram of one contract, the highest layer above; each part with what its docstring says first."""
    container = contract["containers"].strip()
    layers = [[part.strip() for part in line.split("|")] for line in contract["layers"].strip().splitlines()]
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    l{place}["{" · ".join(layer)}"]' for place, layer in enumerate(layers)]
    lines += [f"    l{place} --> l{place + 1}" for place in range(len(layers) - 1)]
    rows = [f"| `{part}` | {_first_sentence(f'{container}.{part}')} |" for layer in layers for part in layer]
    return "\n".join([*lines, "```", "", "| part | what it is |", "| --- | --- |", *rows, ""])


def _first_sentence(module: str) -> str:
    """The first line of a module's docstring, read and not imported."""
    path = DOCS.parent / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].replace("|", "\\|")


PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": commands_page,
    "config.md": config_page,
    "events.md": events_page,
    "layers.md": layers_page,
    "life-cycles.md": life_page,
    "sql.md": sql_page,
    "wires.md": wires_page,
}


def main() -> int:
    """Write or check the pages."""
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    print(
        "\n".join(f"{'stale' if '--check' in sys.argv else 'written'}: docs/{name}" for name in stale) or "all pages are up to date"
    )
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
