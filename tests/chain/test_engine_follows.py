"""What the feed puts down, folded by the engine: its pools are the chain's, and nothing is flagged."""

from __future__ import annotations

from tests.chain.conftest import Chain
from tests.chain.following import PATIENT, Following, following, source_of
from tests.chain.states import concentrated, constant_product, fields
from tests.chain.test_feed import moving, run
from tests.defaults import engine_setup, feed_limits
from xarb.engine.engine import Engine, Stop
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.event import SlowRow, named
from xarb.model.instrument import Instrument
from xarb.venues.dex.loading import load_pools


def engine_of(instruments: list[Instrument]) -> Engine:
    """An engine that follows them and decides nothing."""
    count = len(instruments)
    setup = engine_setup(
        instruments=instruments,
        groups=[[number] for number in range(count)],
        sources=[0] * count,
        limits=[feed_limits()] * count,
        fees={},
        opening={},
        connections=4,
        log_id="L",
        terms={},
    )
    return Engine(setup, [])


def slow_rows(feed: Following) -> list[SlowRow]:
    """Its rows as the engine takes them from a log."""
    kinds = ("pools", "swaps", "loans", "blocks", "connections")
    found = [(kind, dict(row)) for kind, row in feed.rows if kind in kinds]
    rows = []
    for number, (kind, row) in enumerate(found):
        ts = row["ts_recv"]
        rows.append(SlowRow(number, ts, kind, {name: value for name, value in row.items() if name not in ("seq", "ts_recv")}))
    return rows


def test_the_engines_pools_are_the_chains(chain: Chain) -> None:
    """After a market has moved, and again after a reorganisation: every field of every pool, all live, no flag of drift or gaps."""

    async def story() -> None:
        market = moving(chain, rate=4.0)
        source = source_of(chain.world, str(chain.node.ipc), policy=PATIENT)
        instruments = await load_pools(source)
        async with following(source) as feed:
            for _ in range(25):
                market.block()
            await feed.reach(chain.node)
            chain.node.call("anvil_reorg", 4, [])
            for _ in range(3):
                market.block()
            await feed.reach(chain.node)
            rows = slow_rows(feed)
        engine = engine_of(instruments)
        engine.load(Batch(rows[0].seq, rows[-1].seq, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, rows))
        assert engine.run() is Stop.END
        outputs = [(row[0], named(row)) for row in engine.outputs.drain()]
        assert [values for kind, values in outputs if kind == "flags"] == []
        states = [(values["symbol"], values["state"]) for kind, values in outputs if kind == "feed_states"]
        assert sorted(states) == [(pool, "live") for pool in sorted(source.pools)]
        for number, one in enumerate(instruments):
            pool = engine.chains.pool(number)
            assert pool is not None
            is_v3 = hasattr(pool, "sqrt_price")
            there = concentrated(chain.node, one.symbol) if is_v3 else constant_product(chain.node, one.symbol)
            assert fields(pool) == fields(there)

    run(story())
