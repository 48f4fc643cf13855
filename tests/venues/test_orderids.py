"""Client order ids: within every exchange's rule, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.errors import ConfigError, InvariantBroken
from xarb.venues.orderids import ID_RULES, ClientIds, OrderName

LOGS = st.integers(0, 2**32 - 1).map(lambda number: f"{number:08x}")
NAMES = st.builds(OrderName, st.integers(0, 46_655), st.integers(1, 10**10))


@pytest.mark.parametrize("exchange", ID_RULES)
@given(log=LOGS, other=LOGS, name=NAMES)
def test_id_is_what_the_exchange_takes_and_names_the_order_again(exchange: str, log: str, other: str, name: OrderName) -> None:
    """Encoded within alphabet and length, decoded to the same order, and to none in another log."""
    ids = ClientIds(log + "ffff", exchange)
    sent = ids.sent(name)
    assert re.fullmatch(ID_RULES[exchange].pattern, sent)
    assert len(sent) <= 36
    assert ids.decode(sent) == name
    assert (ClientIds(other, exchange).decode(sent) == name) is (log == other)


@pytest.mark.parametrize("exchange", ID_RULES)
@given(text=st.text(max_size=40))
def test_any_other_text_is_not_ours(exchange: str, text: str) -> None:
    """Texts of others decode to nothing, or to a name that encodes to the same text."""
    ids = ClientIds("0123abcd", exchange)
    found = ids.decode(text)
    assert found is None or ids.sent(found) == text


@pytest.mark.parametrize("exchange", ID_RULES)
@given(log=LOGS, other=LOGS, name=NAMES, start=st.integers(0, 46_655))
def test_another_xarb_is_told_by_its_ids(exchange: str, log: str, other: str, name: OrderName, start: int) -> None:
    """One of another log, or a later start of a copy of this one; never this log's starts up to now."""
    sent = ClientIds(other, exchange).sent(name)
    assert ClientIds(log, exchange).is_rival(sent, start) is (log != other or name.start > start)


@pytest.mark.parametrize("text", [None, "", "web_1", "x" * 18, "x1z141z4" + "0" * 10, "0123abcd-x-1", "t-web"])
@pytest.mark.parametrize("exchange", ID_RULES)
def test_who_trades_by_hand_is_no_xarb(exchange: str, text: str | None) -> None:
    """Ids of others, and ones that only look alike: a log's number has 32 bits."""
    assert not ClientIds("0123abcd", exchange).is_rival(text, 1)


def test_ids_that_cannot_be_are_refused() -> None:
    """A log without a hexadecimal id, an unknown exchange, and numbers beyond the width are errors."""
    with pytest.raises(ConfigError, match="hexadecimal"):
        ClientIds("notahexid", "binance")
    with pytest.raises(ConfigError, match="is not known what it takes"):
        ClientIds("0123abcd", "nowhere")
    with pytest.raises(InvariantBroken, match="does not fit"):
        ClientIds("0123abcd", "okx").encode(OrderName(46_656, 1))
    with pytest.raises(InvariantBroken, match="none that the exchange takes"):
        ClientIds("0123abcd", "binance").encode(OrderName(1, 10**30))
