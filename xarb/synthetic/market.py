"""What the synthetic market is: assets, venues, feeds and mishaps as tables, and where prices stand at a time.

Each asset has one latent price. Every venue follows it with a lag of its own and is pushed away from it now and then.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, PPB, PPB_PER_BPS
from xarb.synthetic.draws import Draws

START_NS: Final = 1_767_656_700 * NANOS_PER_S  # 2026-01-05 23:45:00 UTC: the recording runs over midnight
NS_PER_EVENT: Final = 8_400_000  # market time per row, measured over the feeds below
GRID_NS: Final = 20 * NANOS_PER_MS  # the latent prices move on this grid
UNIT: Final = 10**8  # latent prices are integers at 8 decimals
_MS: Final = NANOS_PER_MS


class Asset(NamedTuple):
    """A latent price: opening value at 8 decimals, deviation per 20 ms and size of jumps in ppb, share of Bitcoin's moves in percent."""

    opening: int
    deviation_ppb: int
    jump_ppb: int
    beta: int


ASSETS: Final[dict[str, Asset]] = {
    "BTC": Asset(92_400 * UNIT, 12_000, 7 * PPB_PER_BPS, 0),
    "ETH": Asset(3_150 * UNIT, 10_000, 5 * PPB_PER_BPS, 80),
    "SOL": Asset(13_700_000_000, 16_000, 9 * PPB_PER_BPS, 70),
    "USDC": Asset(100_015_000, 60, 0, 0),
}


def latent_prices(seed: int, steps: int) -> dict[str, list[int]]:
    """The price of each asset in USDT at 8 decimals on the 20 ms grid."""
    moves: list[int] = []
    found: dict[str, list[int]] = {}
    for name, asset in ASSETS.items():
        draws, price, path = Draws(seed, f"latent {name}"), asset.opening, []
        for step in range(steps):
            move = draws.bell(asset.deviation_ppb)
            if asset.jump_ppb and draws.below(1_200) == 0:
                move += draws.bell(asset.jump_ppb)
            if name == "BTC":
                moves.append(move)
            else:
                move += moves[step] * asset.beta // 100
            price += price * move // PPB + (asset.opening - price) // 50_000
            path.append(price)
        found[name] = path
    return found


class Venue(NamedTuple):
    """How a venue behaves; times in ns. `pushes` is the mean time between its pushes away from the latent price."""

    lag: int
    latency: int
    jitter: int
    pushes: int


VENUES: Final[dict[str, Venue]] = {
    "alpha": Venue(10 * NANOS_PER_MS, 2 * NANOS_PER_MS, 2 * NANOS_PER_MS, 30 * NANOS_PER_S),
    "bravo": Venue(120 * NANOS_PER_MS, 8 * NANOS_PER_MS, 6 * NANOS_PER_MS, 14 * NANOS_PER_S),
    "charlie": Venue(350 * NANOS_PER_MS, 20 * NANOS_PER_MS, 15 * NANOS_PER_MS, 9 * NANOS_PER_S),
}


class Feed(NamedTuple):
    """One stream of an instrument: `form` is quotes, books or deltas; `mean` is the mean time between updates, ns.

    `spread_ppb` is half the usual spread, `size` the usual value of a level in USDT, `line` the connection of its venue.
    """

    venue: str
    symbol: str
    asset: str
    form: str
    mean: int
    spread_ppb: int
    size: int
    line: int = 0


FEEDS: Final = (
    Feed("alpha", "BTC/USDT", "BTC", "quotes", 72 * _MS, 6_000, 30_000),
    Feed("alpha", "ETH/USDT", "ETH", "quotes", 100 * _MS, 9_000, 20_000),
    Feed("alpha", "SOL/USDT", "SOL", "quotes", 140 * _MS, 18_000, 12_000),
    Feed("alpha", "USDC/USDT", "USDC", "quotes", 3_000 * _MS, 40_000, 200_000, 1),
    Feed("bravo", "BTC/USDT", "BTC", "books", 220 * _MS, 12_000, 20_000),
    Feed("bravo", "ETH/USDT", "ETH", "books", 330 * _MS, 15_000, 15_000),
    Feed("bravo", "SOL/USDT", "SOL", "quotes", 150 * _MS, 30_000, 9_000),
    Feed("charlie", "BTC/USDC", "BTC", "quotes", 170 * _MS, 20_000, 12_000),
    Feed("bravo", "USDC/USDT", "USDC", "quotes", 1_500 * _MS, 50_000, 150_000),
    Feed("charlie", "BTC/USDT", "BTC", "deltas", 260 * _MS, 20_000, 15_000),
    Feed("charlie", "ETH/USDT", "ETH", "deltas", 340 * _MS, 25_000, 10_000),
    Feed("charlie", "SOL/USDT", "SOL", "quotes", 160 * _MS, 45_000, 6_000),
    Feed("bravo", "BTC/USDT:USDT", "BTC", "quotes", 180 * _MS, 10_000, 40_000, 1),
)


class Spell(NamedTuple):
    """A mishap: parts per thousand of the recording for its start, and at most this long (ns; 0: one row)."""

    what: str
    venue: str
    symbol: str | None
    at: int
    lasts: int

    def holds(self, feed: Feed) -> bool:
        """Whether it concerns the feed."""
        return self.venue == feed.venue and self.symbol in {None, feed.symbol}


SPELLS: Final = (
    Spell("silence", "alpha", None, 150, 6 * NANOS_PER_S),
    Spell("gap", "charlie", "BTC/USDT", 250, 1_500 * _MS),
    Spell("frozen", "bravo", "SOL/USDT", 300, 420 * NANOS_PER_S),
    Spell("late", "charlie", None, 350, 2 * NANOS_PER_S),
    Spell("outlier", "charlie", "SOL/USDT", 400, 0),
    Spell("crossed", "alpha", "ETH/USDT", 450, 0),
    Spell("locked", "charlie", "BTC/USDC", 470, 0),
    Spell("one_sided", "alpha", "SOL/USDT", 520, 0),
    Spell("slow", "charlie", None, 560, 40 * NANOS_PER_S),
    Spell("gap", "charlie", "ETH/USDT", 580, 1_500 * _MS),
    Spell("quiet", "charlie", "SOL/USDT", 620, 20 * NANOS_PER_S),
    Spell("lost", "bravo", None, 700, 8 * NANOS_PER_S),
    Spell("lost", "charlie", None, 770, 3 * NANOS_PER_S),
    Spell("gap", "charlie", "BTC/USDT", 830, 1_500 * _MS),
    Spell("outlier", "charlie", "SOL/USDT", 900, 0),
)
_SLOW_NS: Final = 3 * NANOS_PER_S  # a slow venue shows prices of this long ago
LATE_NS: Final = 1_200 * _MS  # rows of a late spell arrive this much later


class Market:
    """The latent prices and the mishaps of one recording of about `events` rows."""

    def __init__(self, seed: int, events: int) -> None:
        self.seed = seed
        self.length = events * NS_PER_EVENT
        self.end = START_NS + self.length
        self.latent = latent_prices(seed, self.length // GRID_NS + 2)
        self.spells = [(START_NS + spell.at * self.length // 1000, min(spell.lasts, self.length // 4), spell) for spell in SPELLS]

    def inside(self, what: str, feed: Feed, ts: int) -> bool:
        """Whether a spell of that kind holds the feed at `ts`."""
        return any(spell.what == what and start <= ts < start + lasts and spell.holds(feed) for start, lasts, spell in self.spells)

    def due(self, feed: Feed, before: int, ts: int) -> str:
        """The one-row mishap that falls on the feed after `before` and up to `ts`, empty for none."""
        for start, lasts, spell in self.spells:
            if not lasts and before < start <= ts and spell.holds(feed):
                return spell.what
        return ""

    def price(self, feed: Feed, ts: int) -> int:
        """The price of the feed's asset in USDT as its venue knows it at `ts`, 8 decimals."""
        known = ts - VENUES[feed.venue].lag - (_SLOW_NS if self.inside("slow", feed, ts) else 0)
        path = self.latent[feed.asset]
        return path[min(max(0, (known - START_NS) // GRID_NS), len(path) - 1)]


class Pushes:
    """When and how far an instrument's price is pushed away from the latent one: each push fades linearly to nothing."""

    def __init__(self, market: Market, feed: Feed) -> None:
        draws, mean = Draws(market.seed, f"pushes {feed.venue} {feed.symbol}"), VENUES[feed.venue].pushes
        self._starts: list[int] = []
        self._pushes: list[tuple[int, int]] = []
        at = START_NS + draws.wait(mean)
        while at < market.end:
            lasts = (50 * NANOS_PER_MS << draws.below(7)) + draws.below(2 * NANOS_PER_S)
            size = (3 + draws.wait(6)) * PPB_PER_BPS * (1 if draws.below(2) else -1)
            self._starts.append(at)
            self._pushes.append((lasts, 0 if feed.asset == "USDC" else size))
            at += lasts + draws.wait(mean)

    def at(self, ts: int) -> int:
        """The push at `ts` in ppb."""
        place = bisect_right(self._starts, ts) - 1
        if place < 0:
            return 0
        lasts, size = self._pushes[place]
        left = lasts - (ts - self._starts[place])
        return size * left // lasts if left > 0 else 0
