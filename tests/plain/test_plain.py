"""The product against the plain model: every output row of whole backtests, on the markets that the speed is measured on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.markets import COINS, VENUES, Market, make, w1, w2
from tests.plain.model import Model
from tests.plain.rows import Row, read
from tests.plain.terms import Terms, VenueTerms, experiment_toml, fees_toml
from xarb.backtest import backtest
from xarb.config import load_experiment
from xarb.log.reader import LogReader


def rich(market: Market, **venue: Any) -> Terms:
    """Terms on which balances rarely stop a bundle."""
    names = VENUES[: market.venues]
    opening = [((name, "USDT"), Fraction(10**9)) for name in names]
    opening += [((name, coin.base), Fraction(10**8)) for name in names for coin in COINS[: market.symbols]]
    return Terms(tuple(VenueTerms(name, **venue) for name in names), tuple(opening))


def product(log: Path, terms: Terms, folder: Path) -> tuple[list[tuple[str, Row]], str]:
    """Output rows of the product, absent values left out, and the prefix of its client order ids."""
    folder.mkdir()
    (folder / "fees.toml").write_text(fees_toml(terms))
    (folder / "run.toml").write_text(experiment_toml(terms))
    out = folder / "run"
    backtest(load_experiment(folder / "run.toml"), log=log, out=out, advance=lambda done, total: None)
    reader = LogReader(out)
    rows = [(kind, {name: value for name, value in row.items() if value is not None}) for kind, row in reader.outputs()]
    return rows, f"{reader.manifest.header.log_id[:8]}-1-"


def same(log: Path, terms: Terms, folder: Path) -> list[tuple[str, Row]]:
    """Compare all rows; the rows."""
    real, prefix = product(log, terms, folder)
    plain = Model(read(log), terms).run(prefix)
    for at, (ours, theirs) in enumerate(zip(plain, real, strict=False)):
        assert ours == theirs, f"row {at}"
    assert len(plain) == len(real)
    return real


@pytest.mark.parametrize("name", ["w1", "w2"])
def test_same(name: str, tmp_path: Path) -> None:
    """Equal."""
    market = {"w1": w1, "w2": w2}[name](60_000)
    make(tmp_path / "log", market)
    rows = same(tmp_path / "log", rich(market), tmp_path / "a")
    assert sum(kind == "fills" for kind, _ in rows) > 20
