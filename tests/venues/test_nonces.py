"""The nonces of an address: against a naive chain and pool that mine, drop, leak and reorganise as they like, and rebuilt from their rows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from xarb.errors import InvariantBroken
from xarb.model.columns import TABLES, TRANSACTION_EVENTS
from xarb.model.order import TRANSACTION_LIFE
from xarb.venues.dex.fees import Fees
from xarb.venues.dex.nonces import KEPT, Intent, Nonces, Whose, rebuilt
from xarb.venues.venue import VenueRow

US, CHAIN, DEPTH = "0x" + "ab" * 20, 31_337, 3
MEANINGS = {"intent", "adopted", "refused", "halted"}


def intent(nonce: int, number: int, at_block: int = 0) -> Intent:
    """A transaction of ours."""
    return Intent(
        nonce=nonce,
        tx_hash=f"0x{number:064x}",
        purpose="trade",
        channel="public",
        fees=Fees(2**70, 1),
        gas_limit=200_000,
        ceiling_wei=None,
        deadline_s=None,
        at_block=at_block,
        whose=Whose(account="main", strategy="dex", start=1, order=number),
    )


def empty() -> Nonces:
    """Nothing known."""
    return Nonces("eth", CHAIN, US)


def seen(nonces: Nonces) -> dict[str, Any]:
    """All that can be seen of it."""
    slots = {nonce: [one.told() for one in nonces.attempts(nonce)] for nonce in nonces.nonces()}
    return {"slots": slots, "next": nonces.next, "waiting": nonces.waiting(), "free": nonces.free()}


class World(RuleBasedStateMachine):
    """A chain that counts, and what we know of it; whatever happens there is told, late or at once.

    `chain`: the hash that spent each nonce, by block; None is a stranger's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[VenueRow] = []
        self.nonces = empty()
        self.made = self.final = 0
        self.blocks: list[list[tuple[int, str | None]]] = [[(nonce, None) for nonce in range(5)]]
        self.rows += self.nonces.adopt(5, "opened")

    def latest(self) -> int:
        """How many the chain counts."""
        return sum(map(len, self.blocks))

    def known(self, *states: str) -> list[str]:
        """Hashes of ours in these states."""
        nonces = self.nonces
        return [one.intent.tx_hash for n in nonces.nonces() for one in nonces.attempts(n) if one.state in states]

    @rule(again=st.booleans())
    def send(self, *, again: bool) -> None:
        """A new one, or another bid for a nonce that waits."""
        waiting = self.nonces.waiting()
        nonce = waiting[0] if again and waiting else self.nonces.to_take()
        self.made += 1
        self.rows += self.nonces.intend(intent(nonce, self.made, len(self.blocks)))

    @precondition(lambda self: self.known("intent", "sent", "unknown"))
    @rule(data=st.data())
    def say(self, data: st.DataObject) -> None:
        """What a node replies, or does not."""
        tx_hash = data.draw(st.sampled_from(self.known("intent", "sent", "unknown")))
        one = self.nonces.attempt(tx_hash)
        assert one is not None
        said = ["sent", "lost", "dropped"] + (["not_sent"] if one.state == "intent" else [])
        match data.draw(st.sampled_from(said)):
            case "sent":
                self.rows += self.nonces.sent(tx_hash)
            case "lost":
                self.rows += self.nonces.lost(tx_hash, "timeout")
            case "dropped":
                self.rows += self.nonces.dropped(tx_hash, "unseen")
            case _:
                self.rows += self.nonces.not_sent(tx_hash, "refused")

    @rule(data=st.data(), many=st.integers(0, 3))
    def mine(self, data: st.DataObject, many: int) -> None:
        """A block with some of what bids for the next nonces, also of what was thought dropped, or with a stranger's."""
        block: list[tuple[int, str | None]] = []
        for nonce in range(self.latest(), self.latest() + many):
            mine = [one.intent.tx_hash for one in self.nonces.attempts(nonce)]
            if not mine:
                break
            block.append((nonce, data.draw(st.sampled_from([*mine, None]))))
        self.blocks.append(block)

    @precondition(lambda self: len(self.blocks) > DEPTH + 1)
    @rule(many=st.integers(1, DEPTH))
    def reorganise(self, many: int) -> None:
        """The last blocks are gone, never deeper than what is final."""
        many = min(many, len(self.blocks) - 1 - self.final)
        if many <= 0:
            return
        gone = [nonce for block in self.blocks[-many:] for nonce, _ in block]
        del self.blocks[-many:]
        for nonce in gone:
            self.rows += self.nonces.reorged(nonce)

    @rule()
    def look(self) -> None:
        """Compare with the chain, and tell what was found there."""
        held = {nonce: (number, tx_hash) for number, block in enumerate(self.blocks) for nonce, tx_hash in block}
        for nonce in self.nonces.nonces():
            if nonce in held:
                number, tx_hash = held[nonce]
                if tx_hash is None:
                    self.rows += self.nonces.taken_by_others(nonce, number)
                else:
                    self.rows += self.nonces.mined(tx_hash, number, f"0x{number}")
        standing = self.nonces.standing(self.latest(), self.latest())
        assert standing.objections == ()
        assert standing.adopt is None
        self.rows += self.nonces.deep(len(self.blocks) - 1, DEPTH)
        self.final = max(self.final, len(self.blocks) - 1 - DEPTH)

    @invariant()
    def one_of_a_nonce(self) -> None:
        """At most one is mined, nonces are dense, and the lowest free one is given out first."""
        nonces, highest = self.nonces, self.nonces.next
        assert highest is not None
        for nonce in nonces.nonces():
            assert sum(one.state == "mined" for one in nonces.attempts(nonce)) <= 1
        assert nonces.nonces() == list(range(highest - len(nonces.nonces()), highest))
        assert nonces.to_take() == (nonces.free() or [highest])[0]
        assert not set(nonces.free()) & set(nonces.waiting())

    @invariant()
    def a_start_knows_as_much(self) -> None:
        """Rebuilt from the rows so far, and every row has the columns of its table."""
        assert seen(rebuilt(empty(), (row.values for row in self.rows))) == seen(self.nonces)
        names = {column.name for column in TABLES["transactions"].columns} - {"seq", "ts_recv"}
        assert all(set(row.values) == names for row in self.rows[-3:])


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


def test_every_event_of_the_log_has_its_meaning() -> None:
    """The words of the table are those of the life cycle, and those that are of no transaction before."""
    assert {event for _, event in TRANSACTION_LIFE} | MEANINGS == set(TRANSACTION_EVENTS)


def test_a_nonce_that_was_left_unspent_is_given_out_again() -> None:
    """Else nothing behind it could be mined; and what was dropped may still come."""
    nonces = empty()
    nonces.adopt(3, "opened")
    for number, nonce in enumerate((3, 4)):
        assert nonces.to_take() == nonce
        nonces.intend(intent(nonce, number))
        nonces.sent(f"0x{number:064x}")
    nonces.dropped(f"0x{0:064x}", "not_included")
    assert nonces.to_take() == 3
    assert nonces.standing(3, 3).gaps == (3,)
    nonces.intend(intent(3, 9))
    assert nonces.standing(3, 3).gaps == ()
    events = [row.values["event"] for row in nonces.mined(f"0x{0:064x}", 8, "0x8")]
    assert events == ["mined", "replaced"]
    assert [one.state for one in nonces.attempts(3)] == ["mined", "replaced"]


@pytest.mark.parametrize(
    ("latest", "pending", "adopt", "words"),
    [
        (7, 8, None, ()),
        (7, 7, None, ()),
        (8, 8, None, ()),
        (9, 9, 9, ()),
        (7, 9, None, ("1 transactions of .* wait that this log does not know",)),
        (6, 6, None, ("counts 6 .* and 7 are final",)),
    ],
)
def test_what_the_chain_counts(latest: int, pending: int, adopt: int | None, words: tuple[str, ...]) -> None:
    """Of nonces to 6 all is final, 7 waits, 8 is the next one."""
    nonces = empty()
    nonces.adopt(7, "opened")
    nonces.intend(intent(7, 1))
    standing = nonces.standing(latest, pending)
    assert standing.adopt == adopt
    assert len(standing.objections) == len(words)
    for word, said in zip(words, standing.objections, strict=True):
        with pytest.raises(AssertionError, match=word):
            raise AssertionError(said)


def test_nonces_that_are_none_to_be_taken() -> None:
    """Before the chain was asked, beyond the next one, one that is final, a hash twice, and after a halt."""
    nonces = empty()
    with pytest.raises(InvariantBroken, match="not asked yet"):
        nonces.to_take()
    nonces.adopt(7, "opened")
    for nonce in (8, 6):
        with pytest.raises(InvariantBroken, match="none to be taken"):
            nonces.intend(intent(nonce, 1))
    nonces.intend(intent(7, 1))
    with pytest.raises(InvariantBroken, match="known already"):
        nonces.intend(intent(8, 1))
    rows = nonces.halt("cancels")
    assert nonces.halt("fee_cap") == []
    with pytest.raises(InvariantBroken, match="cancels"):
        nonces.to_take()
    assert rebuilt(empty(), [row.values for row in rows]).halted is None


def test_rows_of_others_are_left_alone() -> None:
    """Another chain, another address, another venue."""
    nonces, other = empty(), Nonces("eth", 1, US)
    for row in other.adopt(5, "opened"):
        nonces.apply(row.values)
    assert nonces.next is None


def test_of_many_that_were_dropped_the_oldest_are_forgotten() -> None:
    """As a relay drops one after the other of the same nonce; and what no node can know need not be outbid."""
    nonces = empty()
    nonces.adopt(3, "opened")
    for number in range(KEPT + 5):
        nonces.intend(msgspec.structs.replace(intent(3, number), channel="relay"))
        nonces.sent(f"0x{number:064x}")
        nonces.dropped(f"0x{number:064x}", "not_included")
    assert len(nonces.attempts(3)) == KEPT
    assert nonces.attempt(f"0x{4:064x}") is None
    assert nonces.attempt(f"0x{5:064x}") is not None
    assert nonces.bid(3) is None
    nonces.intend(intent(3, 1_000))
    assert nonces.bid(3) is None
    nonces.lost(f"0x{1_000:064x}", "timeout")
    assert nonces.bid(3) == Fees(2**70, 1)


def test_mined_in_another_block() -> None:
    """A reorganisation that nobody told of: it was taken back, and is in another block; of others' nonces too."""
    nonces = empty()
    nonces.adopt(3, "opened")
    nonces.intend(intent(3, 1))
    nonces.mined(f"0x{1:064x}", 8, "0x8")
    assert nonces.mined(f"0x{1:064x}", 8, "0x8") == []
    assert [row.values["event"] for row in nonces.mined(f"0x{1:064x}", 9, "0x9")] == ["reorged", "mined"]
    nonces.intend(intent(4, 2))
    nonces.taken_by_others(4, 9)
    assert nonces.free() == nonces.waiting() == []
    assert [row.values["event"] for row in nonces.mined(f"0x{2:064x}", 10, "0xa")] == ["reorged", "mined"]


def test_a_refusal_of_what_was_seen_is_not_believed() -> None:
    """One node has it and another one says no: its fate is unknown."""
    nonces = empty()
    nonces.adopt(3, "opened")
    nonces.intend(intent(3, 1))
    nonces.sent(f"0x{1:064x}")
    assert [row.values["event"] for row in nonces.not_sent(f"0x{1:064x}", "refused")] == ["unknown"]
