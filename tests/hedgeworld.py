"""Logs and experiments of a chain's pools beside a book of an exchange, for tests of whole runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.dexworld import BLOCK_MS, PLAIN, Act, chain_rows
from tests.engine.cycles import CHAIN, DAI, POOLS, WETH
from tests.log.logs import connection, instrument, quote
from tests.trial import write_log
from xarb.wires.chains import Pool

EXCHANGE: Final = "bravo"
KEY: Final = (EXCHANGE, "ETH/USDC")
QUOTE_MS: Final = 250
_FEES: Final = (
    '[bravo-test]\nvenue = "bravo"\nmaker = "0"\ntaker = "0.001"\nasset = "quote"\nsource = "a test"\nas_of = "2026-01"\n'
)


def hedge_log(folder: Path, acts: Sequence[Act], prices: Sequence[int] = (3_000,), pools: Sequence[Pool] = POOLS) -> Path:
    """Blocks, one each two seconds, and between them a book that shows the price of its block: a dollar wide, 40 ETH on each side."""
    rows = chain_rows(acts, pools)
    steps = {"tick_int": 1, "lot_int": 1, "base": "ETH", "quote": "USDC", "settle": "USDC"}
    rows += [(0, connection(1, EXCHANGE)), (0, instrument(KEY, 2, 3, **steps))]
    for at in range(len(acts) * BLOCK_MS // QUOTE_MS):
        price = prices[min(at * QUOTE_MS // BLOCK_MS, len(prices) - 1)] * 100
        sizes = {"bid_qty_int": 40_000, "ask_qty_int": 40_000}
        rows.append((at * QUOTE_MS + 1, quote(price - 50, price + 50, key=KEY, scales=(2, 3), conn=1, **sizes)))
    return write_log(folder, rows)


def hedge_experiment(
    folder: Path, log: Path, *, simulated: Mapping[str, str] | None = None, chain: str = "", accounts: str = "", **changes: str
) -> Path:
    """An experiment over it with a strategy that takes whatever pays; `changes` are keys of [strategies.hedged]."""
    model = "\n".join(f"{name} = {value}" for name, value in (PLAIN | dict(simulated or {})).items())
    plain = {"kind": '"cex_dex"', "max_legs": "1", "min_profit_bps": "0", "min_profit_quote": "0", "max_notional_quote": "100000"}
    plain |= {"max_edge_bps": "0", "success_bps": "10000", "wait_risk_bps": "0", "scan_ms": "0", "max_open_bundles": "1"}
    keys = "\n".join(f"{name} = {value}" for name, value in (plain | changes).items())
    coins = "" if "coins" in chain else f'coins = {{ {WETH} = "ETH", {DAI} = "USDC" }}'
    text = f"""[run]
log = "{log.name}"
fees_file = "fees.toml"
[venues.{EXCHANGE}]
fees = "bravo-test"
order_latency = {{ constant_ms = 20 }}
response_latency = {{ constant_ms = 20 }}
[onchain.{CHAIN}]
wrapped = "{WETH}"
{coins}
{chain}
[onchain.{CHAIN}.simulated]
{model}
[accounts.main.{CHAIN}]
ETH = 10
{WETH} = 20
{DAI} = 50000
[accounts.main.{EXCHANGE}]
ETH = 20
USDC = 50000
{accounts}
[strategies.hedged]
{keys}
"""
    (folder / "fees.toml").write_text(_FEES)
    path = folder / "hedged.toml"
    path.write_text(text)
    return path
