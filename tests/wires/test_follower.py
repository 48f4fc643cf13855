"""Following a chain: whatever is lost, doubled, late or reorganised on the way, whole blocks come out in an order that can be undone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarb.wires.follower import AskHeader, AskLatest, AskLogs, BlockFollower, Change, Lost
from xarb.wires.node import BadAnswer, Header, Log


def head(number: int, branch: str = "a", parent: Header | None = None) -> Header:
    """A block; without a parent, of the branch of that name."""
    digest = _digest(number, branch)
    above = parent.hash if parent else _digest(number - 1, branch)
    return Header(number, digest, above, 1_000 + number, 7, 0, 30_000_000, "0x", 0)


def _digest(number: int, branch: str) -> str:
    return f"0x{ord(branch[0]):02x}{number:062x}"


def log(header: Header) -> Log:
    """A log that only this block has."""
    return Log("0x" + "1" * 40, (header.hash,), "0x", header.hash, 0, 0)


def answered(follower: BlockFollower, chain: dict[str, Header], latest: Header) -> tuple[list[Change], Lost | None]:
    """What comes out once everything that is asked for is answered by a node that is at `latest`."""
    found: list[Change] = []
    for _ in range(10_000):
        found += follower.take()
        asks = follower.asks()
        if not asks:
            return found, None
        for ask in asks:
            lost = None
            match ask:
                case AskLatest():
                    lost = follower.takes_latest(latest)
                case AskHeader():
                    lost = follower.takes_header(chain[ask.hash])
                case AskLogs():
                    follower.takes_logs(ask.header, [log(ask.header)])
            if lost is not None:
                return found, lost
    raise AssertionError("it asks for ever")


def _told(blocks: list[Change]) -> list[str]:
    return [("-" if one.is_removed else "+") + f"{one.header.number}{chr(int(one.header.hash[2:4], 16))}" for one in blocks]


def test_blocks_come_in_order_with_their_logs() -> None:
    """Each block once, when its logs are there, in order of the chain whatever the order of the answers."""
    follower = BlockFollower(head(1))
    for number in (2, 3):
        follower.hears(head(number))
    asks = follower.asks()
    assert asks == [AskLogs(head(2)), AskLogs(head(3))]
    follower.takes_logs(head(3), [log(head(3))])
    assert follower.take() == []
    follower.takes_logs(head(2), [])
    assert follower.take() == [Change(head(2), ()), Change(head(3), (log(head(3)),))]
    assert follower.tip == head(3)


def test_a_head_twice_says_nothing_new() -> None:
    """Neither while its logs are waited for nor later."""
    follower = BlockFollower(head(1))
    follower.hears(head(2))
    follower.hears(head(2))
    assert follower.asks() == [AskLogs(head(2))]
    follower.takes_logs(head(2), [])
    assert len(follower.take()) == 1
    follower.hears(head(2))
    follower.hears(head(1))
    assert (follower.asks(), follower.take(), follower.repeated) == ([], [], 3)


def test_skipped_heads_are_filled_in() -> None:
    """From the latest block back to the last one that is known."""
    chain = {one.hash: one for one in map(head, range(1, 9))}
    follower = BlockFollower(head(1))
    follower.hears(head(6))
    blocks, lost = answered(follower, chain, head(8))
    assert lost is None
    assert _told(blocks) == [f"+{number}a" for number in range(2, 9)]
    assert follower.irregular == 1


def test_a_reorganisation_takes_back_what_it_replaces() -> None:
    """Newest first, with the logs that went out, and only when the new branch is there."""
    fork = [head(4, "b", parent=head(3)), head(5, "b"), head(6, "b")]
    chain = {one.hash: one for one in (*map(head, range(1, 7)), *fork)}
    follower = BlockFollower(head(1))
    for number in range(2, 6):
        follower.hears(head(number))
        answered(follower, chain, head(number))
    follower.hears(fork[0])
    assert follower.take() == []
    blocks, lost = answered(follower, chain, fork[2])
    assert lost is None
    assert _told(blocks) == ["-5a", "-4a", "+4b", "+5b", "+6b"]
    assert blocks[0].logs == (log(head(5)),)
    assert follower.kept(3) is not None
    assert follower.kept(7) is None


def test_deeper_than_what_is_kept_is_lost() -> None:
    """A state of the chain is needed then: nothing half undone goes out."""
    fork = [head(n, "b") for n in range(1, 12)]
    chain = {one.hash: one for one in (*map(head, range(12)), *fork)}
    follower = BlockFollower(head(1), history=3)
    for number in range(2, 9):
        follower.hears(head(number))
        answered(follower, chain, head(number))
    follower.hears(fork[9])
    blocks, lost = answered(follower, chain, fork[9])
    assert lost is not None
    assert "left the kept blocks 6 to 8" in lost.why
    assert blocks == []


def test_a_gap_that_is_too_wide_is_lost() -> None:
    """Not every block since a long silence is fetched."""
    chain = {one.hash: one for one in map(head, range(1, 60))}
    follower = BlockFollower(head(1), reach=20)
    follower.hears(head(50))
    _, lost = answered(follower, chain, head(50))
    assert lost is not None
    assert "more than 20 blocks" in lost.why


def test_an_answer_that_is_no_parent_is_refused() -> None:
    """By its hash, by its number, and where a known block is called the parent of one that does not follow it."""
    follower = BlockFollower(head(1))
    follower.hears(head(5))
    follower.asks()
    follower.takes_latest(head(5))
    with pytest.raises(BadAnswer, match="no parent of block 5"):
        follower.takes_header(head(3))
    follower.fail()
    with pytest.raises(BadAnswer, match="calls block 1 its parent"):
        follower.takes_latest(head(9, parent=head(1)))


def test_what_is_not_to_be_had_is_left_and_looked_for_anew() -> None:
    """The logs of a block that is gone: the latest block is asked for, and the answers of before say nothing."""
    chain = {one.hash: one for one in map(head, range(1, 4))}
    follower = BlockFollower(head(1))
    follower.hears(head(2, "b", parent=head(1)))
    follower.asks()
    follower.fail()
    follower.takes_logs(head(2, "b", parent=head(1)), [])
    assert follower.take() == []
    blocks, _ = answered(follower, chain, head(3))
    assert _told(blocks) == ["+2a", "+3a"]


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.2, 0.6]), forks=st.sampled_from([0.0, 0.3]))
def test_any_course_of_messages_ends_at_the_chain(seed: int, loss: float, forks: float) -> None:
    """Heads lost, doubled and swapped, branches that come and go, requests that fail: out comes a stack of blocks, ended at the chain's own."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    chain, path = {head(1).hash: head(1)}, [head(1)]
    follower, stack = BlockFollower(head(1)), [head(1)]
    late: list[Header] = []
    for step in range(60):
        if draw.random() < forks:
            del path[len(path) - draw.randint(0, min(5, len(path) - 1)) :]
        path.append(Header(path[-1].number + 1, f"0x{step + 1:064x}", path[-1].hash, step, 7, 0, 0, "0x", 0))
        chain[path[-1].hash] = path[-1]
        late.append(path[-1])
        heard = [one for one in late if draw.random() > loss for _ in range(draw.choice([1, 1, 2]))]
        draw.shuffle(heard)
        late = [one for one in late if draw.random() < 0.2]
        for one in heard:
            follower.hears(one)
            if draw.random() < 0.1:
                follower.fail()
            if draw.random() < 0.5:
                blocks, lost = answered(follower, chain, path[-1])
                assert lost is None
                _stacked(stack, blocks)
    follower.doubts()
    blocks, lost = answered(follower, chain, path[-1])
    assert lost is None
    _stacked(stack, blocks)
    assert stack == path


def _stacked(stack: list[Header], blocks: list[Change]) -> None:
    """Every block follows the one below it, and only the topmost is taken back, with its own logs."""
    for block in blocks:
        assert block.logs == (log(block.header),)
        if block.is_removed:
            assert stack.pop() == block.header
        else:
            assert block.header.parent_hash == stack[-1].hash
            stack.append(block.header)
