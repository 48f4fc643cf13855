"""Queries that run as they stand, on the shipped recording and on a run of it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Example(NamedTuple):
    """A query to start from. `needs` says what must be open: a `log`, a `run`, or `both` (a run beside its log)."""

    title: str
    sql: str
    needs: str


EXAMPLES: Final = (
    Example(
        "Best and usual spread per venue and symbol, bps",
        """SELECT venue, symbol, count(*) AS quotes, min(bps(ask, bid)) FILTER (ask > bid) AS best_bps, median(bps(ask, bid)) AS usual_bps
FROM tops GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Edge between venues, best of each second, before fees and after 2 bps a side",
        """WITH best AS (
    SELECT symbol, venue, ts_recv // 1_000_000_000 AS second, arg_max(bid, seq) AS bid, arg_max(ask, seq) AS ask
    FROM tops GROUP BY ALL)
SELECT make_timestamp_ns(second * 1_000_000_000) AS second, symbol, a.venue AS sell_at, b.venue AS buy_at,
    edge_bps(a.bid, b.ask) AS gross_bps, edge_bps(a.bid, b.ask, sell_fee := 0.0002, buy_fee := 0.0002) AS net_bps
FROM best a JOIN best b USING (symbol, second) WHERE a.venue <> b.venue AND a.bid > b.ask ORDER BY gross_bps DESC LIMIT 20""",
        "log",
    ),
    Example(
        "Crossed moments per ordered pair of venues, at every quote of either",
        """WITH pairs AS (SELECT DISTINCT a.symbol, a.venue AS sell_at, b.venue AS buy_at FROM instruments a JOIN instruments b USING (symbol)
    WHERE a.venue <> b.venue),
moments AS (SELECT p.symbol, sell_at, buy_at, t.seq FROM pairs p JOIN tops t ON t.symbol = p.symbol AND t.venue IN (sell_at, buy_at)),
priced AS (SELECT m.*, s.bid, b.ask FROM moments m
    ASOF JOIN tops s ON s.symbol = m.symbol AND s.venue = m.sell_at AND s.seq <= m.seq
    ASOF JOIN tops b ON b.symbol = m.symbol AND b.venue = m.buy_at AND b.seq <= m.seq)
SELECT symbol, sell_at, buy_at, count(*) AS moments, count(*) FILTER (bid > ask) AS crossed,
    count(*) FILTER (bps(bid, ask) > 5) AS over_5_bps, max(bps(bid, ask)) AS best_bps
FROM priced GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Crossed rounds of a polled recording: venues share receive times; 'fresh': both quotes took another value within 30 s",
        """WITH rounds AS (SELECT symbol, venue, ts_recv, arg_max(bid, seq) AS bid, arg_max(ask, seq) AS ask FROM quotes GROUP BY ALL),
marked AS (SELECT *, bid IS DISTINCT FROM lag(bid) OVER w OR ask IS DISTINCT FROM lag(ask) OVER w AS changed
    FROM rounds WINDOW w AS (PARTITION BY symbol, venue ORDER BY ts_recv)),
aged AS (SELECT *, ts_recv - max(ts_recv) FILTER (changed) OVER w AS age_ns
    FROM marked WINDOW w AS (PARTITION BY symbol, venue ORDER BY ts_recv)),
paired AS (SELECT symbol, a.venue AS sell_at, b.venue AS buy_at, a.bid > b.ask AS crossed, a.bid / b.ask - 1 > 0.002 AS over_20_bps,
        greatest(a.age_ns, b.age_ns) <= 30_000_000_000 AS fresh
    FROM aged a JOIN aged b USING (symbol, ts_recv) WHERE a.venue <> b.venue)
SELECT symbol, sell_at, buy_at, count(*) AS rounds, count(*) FILTER (crossed) AS crossed, count(*) FILTER (crossed AND fresh) AS crossed_fresh,
    count(*) FILTER (over_20_bps) AS over_20_bps, count(*) FILTER (over_20_bps AND fresh) AS over_20_bps_fresh
FROM paired GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Gaps, resyncs and lost connections, and how long each lasted",
        """SELECT time, venue, symbol, event, detail,
    (lead(ts_recv) OVER (PARTITION BY conn, symbol ORDER BY seq) - ts_recv) / 1e9 AS seconds_to_next
FROM connections WHERE event NOT IN ('heartbeat', 'subscribed') ORDER BY seq""",
        "log",
    ),
    Example(
        "Price of each pool after each block that moved it, token1 per token0, and the base fee; removed blocks are left out",
        """SELECT b.time_event, p.venue, p.symbol, b.block_number, wide_double(b.base_fee_wei) / 1e9 AS base_fee_gwei,
    arg_max(CASE p.kind WHEN 'v2' THEN v2_price(reserve0, reserve1, decimals0, decimals1)
        ELSE v3_price(sqrt_price_x96, decimals0, decimals1) END, p.seq) AS price
FROM pools p JOIN blocks b ON b.venue = p.venue AND b.block_hash = p.block_hash AND b.event = 'added'
ANTI JOIN (FROM blocks WHERE event = 'removed') r ON r.venue = p.venue AND r.block_hash = p.block_hash
WHERE reserve0 IS NOT NULL OR sqrt_price_x96 IS NOT NULL GROUP BY ALL ORDER BY b.block_number, p.symbol""",
        "log",
    ),
    Example(
        "Swaps per pool and what flowed in, exact in smallest units; swaps of removed blocks are left out",
        """SELECT venue, symbol, count(*) AS swaps, wide_sum(CASE WHEN wide(delta0) > 0 THEN delta0 ELSE '0' END) AS in0,
    wide_sum(CASE WHEN wide(delta1) > 0 THEN delta1 ELSE '0' END) AS in1
FROM swaps ANTI JOIN (FROM blocks WHERE event = 'removed') USING (venue, block_hash) GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Rejects by rule, with one of each",
        "SELECT rule, venue, count(*) AS rejects, any_value(detail) AS detail, any_value(payload) AS payload FROM rejects GROUP BY ALL ORDER BY ALL",
        "log",
    ),
    Example(
        "Latency of each feed: receive time minus venue time, ms",
        """SELECT venue, symbol, count(*) AS rows, quantile_cont((ts_recv - ts_event) / 1e6, 0.5) AS p50, quantile_cont((ts_recv - ts_event) / 1e6, 0.99) AS p99,
    max(ts_recv - ts_event) / 1e6 AS worst
FROM quotes WHERE ts_event IS NOT NULL GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Traded volume per minute, exact",
        """SELECT time_bucket(INTERVAL 1 minute, CAST(time AS TIMESTAMP)) AS minute, venue, symbol, count(*) AS trades,
    sum(exact(qty_int, qty_scale)) AS qty, sum(price * qty) AS value
FROM trades WHERE symbol = 'BTC/USDT' GROUP BY ALL ORDER BY ALL LIMIT 20""",
        "log",
    ),
    Example(
        "How far ten levels of a book reach",
        """SELECT venue, symbol, count(*) AS books, median(bps(ask_09, bid_09)) AS reach_bps,
    median(bid_qty_00 + bid_qty_01 + bid_qty_02) AS top_three_bids
FROM books GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Funding and basis of perpetuals",
        """SELECT venue, symbol, count(*) AS marks, median(bps(mark, "index")) AS basis_bps, min(funding_rate) AS lowest_rate, max(funding_rate) AS highest_rate
FROM marks GROUP BY ALL ORDER BY ALL""",
        "log",
    ),
    Example(
        "Trading PnL per strategy and asset, from its orders alone",
        """SELECT strategy, asset, sum(delta) AS pnl, sum(delta) FILTER (cause = 'fee') AS of_it_fees
FROM ledger WHERE "order" IS NOT NULL GROUP BY ALL ORDER BY ALL""",
        "run",
    ),
    Example(
        "Refused decisions and refused orders by reason",
        """SELECT 'decision' AS what, strategy, reason, count(*) AS times FROM opportunities WHERE verdict = 'refused' GROUP BY ALL
UNION ALL SELECT 'order', strategy, reason, count(*) FROM refusals GROUP BY ALL ORDER BY times DESC""",
        "run",
    ),
    Example(
        "Episodes: how long gaps lived, and what became of them",
        """SELECT strategy, sell_venue, buy_venue, count(*) AS episodes, median(life_ns) / 1e6 AS life_ms, max(best_edge_bps) AS best_edge_bps,
    sum(taken) AS taken, sum(refused) AS refused
FROM episodes GROUP BY ALL ORDER BY ALL""",
        "run",
    ),
    Example(
        "Time that each feed spent in each state, s",
        """WITH spells AS (SELECT *, lead(ts, 1, (SELECT max(ts) FROM feed_states)) OVER (PARTITION BY venue, symbol ORDER BY after_seq, n) - ts AS held
    FROM feed_states)
SELECT venue, symbol, state, tradable, count(*) AS times, sum(held) / 1e9 AS seconds FROM spells GROUP BY ALL ORDER BY ALL""",
        "run",
    ),
    Example(
        "What validation found, by rule",
        "SELECT rule, venue, symbol, count(*) AS flags, min(time) AS first FROM flags GROUP BY ALL ORDER BY flags DESC",
        "run",
    ),
    Example(
        "The sum of the ledger is the balance: every row of the answer would be a mistake",
        """SELECT account, venue, asset, sum(delta) AS total, arg_max(balance, (after_seq, n)) AS balance
FROM ledger GROUP BY ALL HAVING total <> balance ORDER BY ALL""",
        "run",
    ),
    Example(
        "Fills with the quotes behind them: the price decided on, the price got, and how old the quote was (null: a book change)",
        """SELECT f.time, f.venue, f.symbol, f.side, f.qty, f.price, CASE f.side WHEN 'buy' THEN t.ask ELSE t.bid END AS quoted,
    (f.ts - t.ts_recv) / 1e6 AS age_ms, t.seq AS quote_seq
FROM fills f JOIN opportunities o ON o.bundle = f.bundle AND o.verdict = 'taken'
LEFT JOIN tops t ON t.seq = CASE f.side WHEN 'buy' THEN o.buy_seq ELSE o.sell_seq END
ORDER BY f.after_seq, f.n LIMIT 20""",
        "both",
    ),
    Example(
        "From an output to its cause: the input after which each command was given",
        """SELECT c.time, c.strategy, c.venue, c.symbol, c.side, c.qty, c.price, t.venue AS cause_venue, t.symbol AS cause_symbol, t.bid, t.ask
FROM commands c LEFT JOIN tops t ON t.seq = c.after_seq ORDER BY c.after_seq, c.n LIMIT 20""",
        "both",
    ),
)
