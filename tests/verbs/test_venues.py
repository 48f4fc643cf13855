"""What `xarb venues` says of exchanges."""

from __future__ import annotations

import pytest

from xarb.errors import ConfigError
from xarb.venues.orderrules import RULES
from xarb.verbs.venues import offer, offers_tables
from xarb.wires.exchanges import WIRES


def test_every_wire_is_listed_with_what_it_offers() -> None:
    """One row a wire; a service of a larger exchange has that exchange's rights; the others are named as coalescing."""
    exact, others, chains, objections = offers_tables(None)
    assert {metric for *_, seen in objections.rows for metric in seen.split(", ") if metric.startswith("xarb_")} == {
        "xarb_chain_objections",
        "xarb_chain_waiting",
        "xarb_feed_tradable",
        "xarb_health",
    }
    assert [row[0] for row in chains.rows] == ["v2", "v3"]
    assert [row[0] for row in exact.rows] == list(WIRES)
    rows = {row[0]: dict(zip(exact.columns, row, strict=True)) for row in exact.rows}
    assert rows["binance"]["order by client id"] == "origClientOrderId"
    assert rows["coinbase"]["order by client id"] == "no"
    assert (rows["okx"]["cancel-after timer"], rows["binance"]["cancel-after timer"]) == ("yes", "no")
    assert {name: row["if we die"] for name, row in rows.items() if row["if we die"] != "-"} == {
        "binance": "IOC and FOK orders alone",
        "okx": "countdown of 10 to 120 s, kept running",
    }
    assert all(rows[name]["cancel-after timer"] == "yes" for name, rule in RULES.items() if rule.countdown)
    assert sorted(name for name, row in rows.items() if row["real orders"] == "yes") == sorted(RULES)
    assert all(RULES[name].by_id("x") == {rows[name]["order by client id"]: "x"} for name in RULES)
    assert rows["okx"]["continuity"] == WIRES["okx"].continuity
    assert "bitvavo" in others.rows[0][0].split(", ")
    assert "binance" not in others.rows[0][0].split(", ")


def test_one_venue_is_shown_in_detail() -> None:
    """With addresses and limits of its wire; without a wire, what ccxt can stream or be polled for; an unknown one is refused."""
    detail = {row[0]: row[1] for row in offers_tables("kucoin")[0].rows}
    assert (detail["stream"], detail["decoder"]) == ("asked for over REST", "exact")
    plain = offer("bitvavo")
    assert (plain.wire, plain.has_timer) == (None, True)
    assert {"quotes", "books", "trades"} <= set(plain.channels)
    with pytest.raises(ConfigError, match=r"no venue binanc; similar ones: .*binance"):
        offer("binanc")
