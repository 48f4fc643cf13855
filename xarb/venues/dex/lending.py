"""Lenders as the chain says they are: what each takes for a token and has of it, as of the end of a block, by its hash.

What never changes of a lender is asked once, the rest with the logs of each block, in the same message: so no block waits for it longer than for its
logs. A row is for what changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from eth_abi import decode  # type: ignore[attr-defined]  # exported without a declaration
from eth_abi.exceptions import DecodingError

from xarb.errors import Rejected
from xarb.pools.financing import WAD, Loan, Way
from xarb.venues.dex.reading import at, call_data
from xarb.wires.node import BadAnswer, Header, bytes_of

if TYPE_CHECKING:
    from xarb.venues.dex.rpc import Rpc

_BPS: Final = WAD // 10_000
_PIP: Final = WAD // 1_000_000
_ACTIVE, _PAUSED, _LENDS = 1 << 56, 1 << 60, 1 << 63  # bits of a reserve's configuration (Aave v3, ReserveConfiguration.sol)
_RESERVE: Final = ("uint256", *["uint128"] * 5, "uint40", "uint16", "address")  # as far as the token that holds what is lent
_KEPT: Final = 1_024  # blocks that may be asked for before the first of them is put down
Call = tuple[str, Sequence[Any]]


class Lender(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we may borrow from: Balancer's vault, an Aave v3 pool, or a v3 pool for `flash`; and which tokens. Addresses are lower case."""

    way: Way
    address: str
    tokens: tuple[str, ...]


class Said(NamedTuple):
    """What a lender said of a token, and why it said nothing that could be read, empty where it did."""

    loan: Loan
    token: str
    why: str


class Lending:
    """The lenders of a chain.

    Args:
        lenders: whom to ask.
    """

    def __init__(self, lenders: Sequence[Lender]) -> None:
        self._lines = [_Line(one.way, one.address, token) for one in lenders for token in one.tokens]
        self._said: OrderedDict[str, list[Said]] = OrderedDict()  # by hash of a block
        self._given: OrderedDict[str, list[Said]] = OrderedDict()  # the same, of blocks that were put down
        self._told: dict[tuple[str, str, str], Loan] = {}

    async def begin(self, rpc: Rpc, header: Header) -> None:
        """Ask for all of it as of a block.

        Raises:
            Retryable: the node does not answer.
        """
        for _ in range(2):  # what never changes, then the rest
            asked = self.ask(header)
            self.takes(asked, await rpc.each(asked.calls))
        self.again()

    def ask(self, header: Header) -> Asked:
        """What is to be asked of a block now."""
        return Asked(header, [line.ask() for line in self._lines])

    def takes(self, asked: Asked, answers: Sequence[Any]) -> None:
        """The answers, in order; a `Rejected` is one."""
        said, at = [], 0
        for line, part in zip(self._lines, asked.parts, strict=True):
            said.append(line.read(part, answers[at : at + len(part.questions)]))
            at += len(part.questions)
        self._said[asked.header.hash] = said
        while len(self._said) > _KEPT:
            self._said.popitem(last=False)

    def latest(self) -> list[Said]:
        """What was said last, of all."""
        return next(reversed(self._said.values()), [])

    def changed(self, header: Header) -> list[Said]:
        """What a block's rows have to tell; all of it where nothing was told before. Of a block that was not asked for nothing is known."""
        found = self._said.pop(header.hash, None)
        said = [line.unknown("it was not asked") for line in self._lines] if found is None else found
        self._given[header.hash] = said
        while len(self._given) > _KEPT:
            self._given.popitem(last=False)
        new = [one for one in said if self._told.get((one.loan.way, one.loan.lender, one.token)) != one.loan]
        self._told |= {(one.loan.way, one.loan.lender, one.token): one.loan for one in new}
        return new

    def again(self) -> None:
        """Tell all with the next block."""
        self._told.clear()

    def given(self, header: Header) -> tuple[Loan, ...]:
        """What a block that was put down is known by, of all lenders; nothing where one did not say."""
        return _whole([one.loan for one in self._given.get(header.hash, ())])

    def heard(self, asked: Asked, answers: Sequence[Any]) -> tuple[Loan, ...]:
        """What another node answers to the same, of all lenders; nothing where it does not say of one. It teaches nothing."""
        said, at = [], 0
        for line, part in zip(self._lines, asked.parts, strict=True):
            said.append(line.heard(part, answers[at : at + len(part.questions)]))
            at += len(part.questions)
        return _whole(said)


class _Moved(BadAnswer):
    """What never changes did."""


class _Question(NamedTuple):
    whom: str
    name: str
    values: tuple[Any, ...]
    kinds: Sequence[str]


class _Part(NamedTuple):
    """What one lender is asked of one token, knowing of it what never changes; None: that is asked."""

    facts: tuple[Any, ...] | None
    questions: list[_Question]


class Asked(NamedTuple):
    """What is asked of a block."""

    header: Header
    parts: list[_Part]

    @property
    def calls(self) -> list[Call]:
        """It, as a node takes it."""
        block = at(self.header)
        questions = [one for part in self.parts for one in part.questions]
        return [("eth_call", ({"to": one.whom, "data": call_data(one.name, *one.values)}, block)) for one in questions]


class _Line:
    """A lender and a token."""

    def __init__(self, way: Way, lender: str, token: str) -> None:
        self._way, self._lender, self._token = way, lender, token
        self._facts: tuple[Any, ...] | None = None

    def ask(self) -> _Part:
        """What is to be asked now."""
        return _Part(self._facts, self._questions())

    def _questions(self) -> list[_Question]:
        who, token = self._lender, self._token
        reserve = _Question(who, "getReserveData(address)", (token,), _RESERVE)
        if self._facts is None:
            if self._way == "balancer":
                return [_Question(who, "getProtocolFeesCollector()", (), ["address"])]
            if self._way == "aave":
                return [reserve]
            sides = [_Question(who, name, (), ["address"]) for name in ("token0()", "token1()")]
            return [_Question(who, "fee()", (), ["uint24"]), *sides]
        if self._way == "balancer":
            return [_Question(self._facts[0], "getFlashLoanFeePercentage()", (), ["uint256"]), self._holding(who)]
        if self._way == "aave":
            premium = _Question(who, "FLASHLOAN_PREMIUM_TOTAL()", (), ["uint128"])
            return [premium, reserve, self._holding(self._facts[0])]
        return [self._holding(who)]

    def read(self, part: _Part, answers: Sequence[Any]) -> Said:
        """What it says; a lender that does not answer as one of its kind does stays with what is not known, so that it is refused."""
        try:
            values = [_decoded(one, said) for one, said in zip(part.questions, answers, strict=True)]
            if part.facts is None:
                self._facts = (values[0][-1],) if self._way == "aave" else tuple(one[0] for one in values)
                return self.unknown("its first answers have only just come")
            return Said(self._loan(part.facts, values), self._token, "")
        except _Moved as error:
            self._facts = None
            return self.unknown(str(error))
        except (BadAnswer, Rejected) as error:
            return self.unknown(str(error))

    def heard(self, part: _Part, answers: Sequence[Any]) -> Loan:
        """What it says, learning nothing; not known where it does not, and where what never changes is not known."""
        nothing = self.unknown("").loan
        if part.facts is None:
            return nothing
        try:
            return self._loan(part.facts, [_decoded(one, said) for one, said in zip(part.questions, answers, strict=True)])
        except (BadAnswer, Rejected):
            return nothing

    def unknown(self, why: str) -> Said:
        """What is known of it where it did not say."""
        return Said(Loan(way=self._way, lender=self._lender, premium_wad=None, available=None), self._token, why)

    def _holding(self, holder: str) -> _Question:
        return _Question(self._token, "balanceOf(address)", (holder,), ["uint256"])

    def _loan(self, facts: tuple[Any, ...], values: Sequence[tuple[Any, ...]]) -> Loan:
        premium, available = self._terms(facts, values)
        return Loan(way=self._way, lender=self._lender, premium_wad=premium, available=available)

    def _terms(self, facts: tuple[Any, ...], values: Sequence[tuple[Any, ...]]) -> tuple[int, int]:
        (first, *_), available = values[0], values[-1][0]
        if self._way == "balancer":
            return first, available
        if self._way == "flash":
            fee, *sides = facts
            return fee * _PIP, available if self._token in sides else 0
        bits, *_, holder = values[1]
        if (holder,) != facts:
            raise _Moved(f"what it holds of {self._token} is at {holder} now")
        lends = bits & _ACTIVE and bits & _LENDS and not bits & _PAUSED
        return first * _BPS, available if lends else 0


def _whole(loans: Sequence[Loan]) -> tuple[Loan, ...]:
    """These, where each is known."""
    return tuple(loans) if all(None not in (one.premium_wad, one.available) for one in loans) else ()


def _decoded(question: _Question, said: Any) -> tuple[Any, ...]:
    """The first values that a call returned.

    Raises:
        BadAnswer: it returned something else. Rejected: the node says no.
    """
    if isinstance(said, Rejected):
        raise said
    raw = bytes_of(said)
    try:
        return tuple(decode(list(question.kinds), raw[: 32 * len(question.kinds)]))
    except DecodingError as error:
        raise BadAnswer(f"{question.name} of {question.whom} returned 0x{raw.hex()[:200]}: {error}") from None
