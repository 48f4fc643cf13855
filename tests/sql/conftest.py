"""A log and a run of it, small enough to know every row by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from xarb.log.manifest import Header
from xarb.log.writer import LogWriter
from xarb.model.units import parse_money

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "recordings" / "quickstart"
DAY: Final = 86_400 * 10**9
NOON: Final = 1_767_614_400 * 10**9  # 2026-01-05 12:00 UTC
ODD: Final = "O'BTC\"/USDT;--"  # a symbol that breaks careless SQL
ACTOR: Final = {"account": "main", "strategy": "m1"}


def quote(seq: int, ts: int, venue: str, prices: tuple[int | None, int | None], **more: Any) -> dict[str, Any]:
    """A quote at two decimals of price, three of quantity."""
    row = {"seq": seq, "ts_recv": ts, "conn": 0, "venue": venue, "symbol": ODD, "bid_int": prices[0], "ask_int": prices[1]}
    return {**row, "bid_qty_int": 1_500, "ask_qty_int": None, "px_scale": 2, "qty_scale": 3, **more}


def write_log(folder: Path) -> Path:
    """Four quotes over two days and a pool, nothing else."""
    with LogWriter.create(folder, Header(kind="log", log_id="L1", origin="test's log")) as log:
        rows = [
            quote(0, NOON, "a", (10_001, 10_003)),
            quote(1, NOON + 1, "b", (None, 10_000)),
            quote(2, NOON + DAY, "a", (9_999, 10_005), ts_event=NOON + DAY - 7),
            quote(3, NOON + DAY + 2, "b", (10_010, 10_020), px_scale=2),
        ]
        log.write_rows("quotes", rows)
        chain = {"conn": 0, "venue": "eth", "chain_id": 1, "block_number": 5, "block_hash": "0x1", "tx_index": 0, "log_index": 0}
        pool = {
            "symbol": "0xp",
            "cause": "sync",
            "kind": "v2",
            "token0": "0x0",
            "token1": "0x1",
            "decimals0": 18,
            "decimals1": 6,
            "fee_ppm": 3000,
        }
        wide = {"reserve0": str(2**256 - 1), "reserve1": "-" + str(2**255), "sqrt_price_x96": str(2**160 - 1)}
        log.write_rows("pools", [{"seq": 4, "ts_recv": NOON + DAY + 3, **chain, **pool, **wide}])
    return folder


def write_run(folder: Path) -> Path:
    """One bundle: an episode with its decisions, a command, a fill, its ledger, a refusal, feed states and a flag."""
    stamps = iter(range(100))

    def out(after: int, **values: Any) -> dict[str, Any]:
        return {"after_seq": after, "n": next(stamps), "ts": NOON + DAY + 2, **values}

    market, pair = {"venue": "b", "symbol": ODD}, {"sell_venue": "b", "sell_symbol": ODD, "buy_venue": "a", "buy_symbol": ODD}
    episode = {
        "opportunity": 1,
        "strategy": "m1",
        **pair,
        "edge_ppb": 500_000,
        "best_edge_ppb": 500_000,
        "sell_seq": 3,
        "buy_seq": 2,
    }
    money = parse_money
    with LogWriter.create(folder, Header(kind="run", log_id="R1", input_digest="d", seed=1)) as run:
        run.write_rows("feed_states", [out(3, **market, state="live", previous="down", score=900, tradable=True)])
        run.write_rows("flags", [out(3, **market, rule="off_tick", value=1, bound=2)])
        opportunities = [
            out(3, **episode, phase="opened"),
            out(3, **episode, phase="decided", verdict="refused", reason="below_min_profit"),
            out(3, **episode, phase="decided", verdict="taken", bundle=7),
        ]
        command = {"kind": "submit", "order": 1, "client_order_id": "R1-1-1", "bundle": 7, "leg": 0, "attempt": 0, "side": "sell"}
        limit = {"price_int": 10_010, "qty_int": 1_500, "px_scale": 2, "qty_scale": 3, "purpose": "open"}
        run.write_rows("commands", [out(3, **ACTOR, **market, **command, **limit)])
        run.write_rows("refusals", [out(3, **ACTOR, reason="balance", value=money("2"), bound=money("1"))])
        done = {"order": 1, "bundle": 7, "leg": 0, "fill_id": "f", "side": "sell", "price": money("100.10"), "qty": money("1.5")}
        paid = {"notional": money("150.15"), "fee": money("0.030030000000000001"), "fee_asset": "USDT", "liquidity": "taker"}
        run.write_rows("fills", [out(3, **ACTOR, **market, **done, **paid, purpose="open")])
        book = [
            ("1000", "1000", "opening", None),
            ("150.15", "1150.15", "trade", 1),
            ("-0.030030000000000001", "1150.119969999999999999", "fee", 1),
        ]
        run.write_rows(
            "ledger",
            [
                out(3, **ACTOR, venue="b", asset="USDT", delta=money(delta), balance=money(balance), cause=cause, order=order)
                for delta, balance, cause, order in book
            ],
        )
        opportunities.append(out(3, **episode, phase="closed", reason="edge_gone", life_ns=5_000_000))
        run.write_rows("opportunities", opportunities)
    return folder


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small log, in a folder whose name breaks careless SQL and globs."""
    return write_log(tmp_path_factory.mktemp("query") / "it's a [log] * date=2020-01-01")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run."""
    return write_run(tmp_path_factory.mktemp("query") / "run")
