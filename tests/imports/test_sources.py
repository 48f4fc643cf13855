"""Sources files: what is allowed, and what a wrong key is told."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.imports import test_bybit_trades as bybit
from tests.imports import test_okx_books as okx
from tests.imports.conftest import ROOT, imported
from xarb.errors import ConfigError
from xarb.imports.command import import_tables
from xarb.imports.sources import load_sources, single

GOOD = """
[[source]]
format = "quotes-csv"
path = "a.csv"
venue = "kraken"
symbol = "BTC/USD"
time_unit = "ms"
columns = { ts_recv = "time", bid = "bid", ask = "ask" }
"""


def load(folder: Path, text: str) -> object:
    """Load a sources text."""
    path = folder / "s.toml"
    path.write_text(text)
    return load_sources(path)


def test_the_shipped_sources_files_load() -> None:
    """Every sources file in experiments is valid, and its paths are relative."""
    files = sorted((ROOT / "experiments").glob("*-sources.toml"))
    assert len(files) >= 4
    for path in files:
        for source in load_sources(path).sources:
            assert not Path(source.name).is_absolute()
            assert source.file == path.parent / source.name


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """Its sources and its instruments import what the archives of both exchanges publish, without a reject."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "import.md").read_text(), re.DOTALL)
    for name, text in zip(("sources.toml", "mine.toml"), blocks, strict=True):
        (tmp_path / name).write_text(text)
    books, okx_trades, bybit_trades = load_sources(tmp_path / "sources.toml").sources
    books.file.write_bytes(gzip.compress(okx.tarred(okx.message(7, action="snapshot"))))
    head = "instrument_name,trade_id,side,price,size,created_time,source\n"
    okx_trades.file.write_bytes(okx.zipped(f"{head}BTC-USDT-SWAP,2885385355,sell,78542.2,14.07,1788192000021,0\n".encode()))
    bybit_trades.file.write_bytes(gzip.compress((bybit.HEAD + bybit.trade("1", "a")).encode()))
    found = imported(load_sources(tmp_path / "sources.toml"))
    assert {kind: len(rows) for kind, rows in found.rows.items()} == {
        "book_deltas": 2,
        "trades": 2,
        "instruments": 2,
        "connections": 6,
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('format = "quotes-csv"', 'format = "quotes-xls"', "format 'quotes-xls' is not known; allowed: quotes-csv, quotes-parquet"),
        ("[[source]]", "colour = 1\n[[source]]", "unknown key 'colour'; allowed: instruments, source"),
        ('time_unit = "ms"', 'time_units = "ms"', "unknown key 'time_units' for format quotes-csv; allowed: columns, continues"),
        ('time_unit = "ms"', 'time_unit = "m"', "time_unit 'm' is not known; allowed: s, ms, us, ns"),
        ('time_unit = "ms"', "", "time_unit is missing"),
        ('ts_recv = "time"', 'when = "time"', "unknown key columns.when; allowed: ts_recv"),
        ('ts_recv = "time"', 'ts_event = "time"', "time_rule must say how"),
        ('ts_recv = "time", bid', "bid", "time_rule must say how"),
        (', ask = "ask"', "", "columns must map bid and ask"),
        ('ask = "ask"', 'ask = "bid"', "maps one column of the file twice"),
        ('symbol = "BTC/USD"', "", "state symbol either for the whole file or as columns.symbol"),
        ('venue = "kraken"', "", "symbol is stated without venue"),
        ('"BTC/USD"', '"ETH/USD"', "no instrument ETH/USD@kraken; listed on kraken: BTC/USD"),
        ('time_unit = "ms"', 'time_unit = "ms"\ntime_rule = "ts_event + 5 ms"', "time_rule is stated although"),
        ('time_unit = "ms"', 'time_unit = "ms"\ncontinues = true', "the source before it is not of the same"),
        ('time_unit = "ms"', 'time_unit = "ms"\ncontinues = "yes"', "continues"),
        ('path = "a.csv"', "", "path must be the file"),
        ("[[source]]", "[source]", "no \\[\\[source\\]\\] in it"),
        ("[[source]]", "[[source]", "no valid TOML"),
    ],
)
def test_wrong_sources(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each mistake is told with the source, the key and what is allowed."""
    load(tmp_path, GOOD)
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("rule", "nanos"), [("ts_event + 5 ms", 5_000_000), ("ts_event + 0 ns", 0), ("ts_event + 2 s", 2_000_000_000)]
)
def test_time_rules(tmp_path: Path, rule: str, nanos: int) -> None:
    """A rule adds a stated time to the venue's."""
    text = GOOD.replace("ts_recv", "ts_event") + f'time_rule = "{rule}"\n'
    found = load(tmp_path, text)
    assert found.sources[0].rule_ns == nanos  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", ["ts_event", "ts_event - 5 ms", "ts_event + 5 minutes", "ts_event + -5 ms", "now"])
def test_wrong_time_rules(tmp_path: Path, rule: str) -> None:
    """Any other text is refused with the form that is asked for."""
    with pytest.raises(ConfigError, match="is not of the form"):
        load(tmp_path, GOOD.replace("ts_recv", "ts_event") + f'time_rule = "{rule}"\n')


def test_one_format_from_the_command_line(tmp_path: Path) -> None:
    """A single format with paths makes the same sources as a file."""
    found = single("tardis-csv", [tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [source.file.name for source in found.sources] == ["a.csv", "b.csv"]
    with pytest.raises(ConfigError, match="needs venue and symbol"):
        single("binance-raw", [tmp_path / "a.gz"])


def test_own_instruments(tmp_path: Path) -> None:
    """A sources file may bring instruments of its own."""
    entry = '[[instrument]]\nvenue = "v"\nsymbol = "A/B"\nnative = "AB"\nkind = "spot"\nbase = "A"\nquote = "B"\ntick = "0.1"\nlot = "1"\n'
    (tmp_path / "mine.toml").write_text(entry)
    text = 'instruments = "mine.toml"\n' + GOOD.replace('"kraken"', '"v"').replace("BTC/USD", "A/B")
    assert load(tmp_path, text).sources[0].symbol == "A/B"  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["\u00b2", "\u0663", "-1", "1.5", ""])
def test_a_number_on_the_command_line_has_ascii_digits(tmp_path: Path, value: str) -> None:
    """Others are refused with the key."""
    with pytest.raises(ConfigError, match=r"--set price_decimals=.*: must be a whole number"):
        import_tables("quotes-csv", [tmp_path / "x.csv"], tmp_path / "log", {"price_decimals": value}, advance=lambda *_: None)
