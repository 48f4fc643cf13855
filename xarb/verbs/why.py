"""The why verb: the chain from an order back to the market events, and what became of it.

Everything but the state that the strategy saw is read from the log. That state comes from a replay up to the decision (`moment`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.engine.liverows import ARM, DISARM, KILL
from xarb.errors import ConfigError
from xarb.inquiry.chain import Chain, Row, aftermath, became, told
from xarb.inquiry.course import markets_of
from xarb.inquiry.decided import Decided, open_decided, starts_in
from xarb.inquiry.evidence import evidence
from xarb.inquiry.moment import Moment, Wanted, Witness, witness
from xarb.inquiry.sections import Section, moment_of
from xarb.inquiry.seen import moment_sections
from xarb.log.manifest import Manifest
from xarb.provenance import code_digest
from xarb.sql.connection import open_query
from xarb.sql.pick import pick

_WHAT: Final = ("what", "value")
_LONGEST: Final = 18  # digits of a number that there can be


class Question(NamedTuple):
    """What is asked: an order by its number or client order id, or an opportunity by its number; of which start of a live log."""

    order: str | None
    opportunity: int | None
    start: int | None


def why(folder: Path, question: Question, *, log: Path | None = None) -> list[Section]:
    """Explain an order or an opportunity.

    Args:
        folder: a run or a live log.
        question: what is asked.
        log: the run's input log, where it does not lie where the run says.

    Raises:
        ConfigError: there is no such order or opportunity, or it must be said of which start.
        LogError: the log is damaged.
        Refused: the log is not the run's, or this code decides otherwise than the code of the run did. What was pruned is named in the
            answer.
    """
    if (question.order is None) == (question.opportunity is None):
        raise ConfigError(
            "why explains an order or an opportunity: give an order's number, its client order id, or --opportunity N"
        )
    with open_decided(folder, log=log, start=_start_of(folder, question)) as decided:
        chain = (
            _chain_of_opportunity(decided, question.opportunity)
            if question.order is None
            else _chain_of_order(decided, question.order)
        )
        witnessed, note = _witness(decided, chain)
        sections = [_head(decided, chain, note), *told(chain)]
        if chain.decision is not None:
            sections.append(evidence(decided, _roles(chain.decision, witnessed), chain.decision["ts"]))
        sections += _seen(chain, witnessed)
        if not chain.commands:
            return sections
        orders, bundles = (sorted({row[key] for row in chain.commands}) for key in ("order", "bundle"))
        return sections + aftermath(chain, became(decided, orders, bundles))


def numbered(option: str, given: str | None) -> int | None:
    """The number that an option of the command line gives.

    Raises:
        ConfigError: it is none.
    """
    if given is None:
        return None
    if not _is_number(given):
        raise ConfigError(f"{option} {given}: must be a whole number")
    return int(given)


# --- the rows


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST


def _start_of(folder: Path, question: Question) -> int | None:
    """The start that is asked for, else the one that an order's client id names; None where it is a number, or the folder is a run."""
    order = question.order
    if question.start is not None:
        return question.start
    if order is None or _is_number(order) or Manifest(folder).header.kind == "run":
        return None
    with open_query([folder]) as query:
        rows = pick(query, "commands", ("client_order_id", "=", order), limit=1)
        if not rows:
            raise ConfigError(f"{folder} has no order {order}")
        return next(one.start.number for one in starts_in(query) if one.first <= rows[0]["after_seq"] <= one.last)


def _chain_of_order(decided: Decided, order: str) -> Chain:
    named = ("order", "=", int(order)) if _is_number(order) else ("client_order_id", "=", order)
    mine = decided.rows("commands", named)
    if not mine:
        cycle = decided.rows("cycles", named, limit=1)
        if cycle:
            of = cycle[0]["opportunity"]
            how = "rests on no opportunity" if of is None else f"is explained by its opportunity: --opportunity {of}"
            raise ConfigError(
                f"{decided.title}: order {order} is a transaction on a chain, which {how}; its rows: cycles, cycle_states"
            )
        last = decided.rows("commands", ("kind", "=", "submit"), newest=True, limit=1)
        there = f"there are 1 to {last[0]['order']}" if last else "it has no orders"
        raise ConfigError(f"{decided.title} has no order {order}; {there}")
    submit = mine[0]
    commands = decided.rows("commands", ("bundle", "=", submit["bundle"]))
    opportunity = submit["opportunity"]
    about = [] if opportunity is None else decided.rows("opportunities", ("opportunity", "=", opportunity))
    refusals = [] if opportunity is None else decided.rows("refusals", ("opportunity", "=", opportunity))
    decision = next((row for row in about if row["bundle"] == submit["bundle"]), None)
    return Chain(submit["order"], commands, about, refusals, decision)


def _chain_of_opportunity(decided: Decided, number: int | None) -> Chain:
    about = decided.rows("opportunities", ("opportunity", "=", number))
    if not about:
        last = decided.rows("opportunities", ("phase", "=", "opened"), newest=True, limit=1)
        there = f"there are 1 to {last[0]['opportunity']}" if last else "it has none"
        raise ConfigError(f"{decided.title} has no opportunity {number}; {there}")
    refusals = decided.rows("refusals", ("opportunity", "=", number))
    bundles = [row["bundle"] for row in about if row["bundle"] is not None]
    commands = decided.rows("commands", ("bundle", "in", bundles))
    decisions = [row for row in about if row["phase"] == "decided"]
    refused = [row for row in decisions if row["verdict"] == "refused"]
    return Chain(None, commands, about, refusals, next(iter(refused or decisions), None))


def _witness(decided: Decided, chain: Chain) -> tuple[Witness | None, str]:
    """What was seen, by replay; without it, why not."""
    decision, submit = chain.decision, next((row for row in chain.commands if row["order"] == chain.order), None)
    rows: list[tuple[str, Mapping[str, Any]]] = [("opportunities", decision)] if decision is not None else []
    if submit is not None:
        rows.append(("commands", submit))
    if not rows:
        return None, "no strategy decided on it: nothing to look at"
    sealed = Manifest(decided.log).last
    if decided.span is not None and max(row["after_seq"] for _, row in rows) >= sealed:
        return None, f"not shown yet: the log is sealed up to seq {sealed}, and the rows of the decision lie in its open tail"
    pruned = decided.pruned()
    if pruned is not None:
        return None, f"not shown: {pruned}"
    about = [row for row in chain.opportunities if row["phase"] == "decided"]
    wanted = Wanted(
        strategy=rows[-1][1]["strategy"],
        opportunity=None if decision is None else decision["opportunity"],
        decisions=0 if decision is None else 1 + about.index(decision),
        order=chain.order,
        instruments=_instruments(chain),
    )
    return witness(decided, wanted, rows), "by replay: the decision came again as recorded"


def _instruments(chain: Chain) -> tuple[tuple[str, str], ...]:
    """Venue and symbol of both sides of the opportunity, or of the cycle's trades, else of the order."""
    if chain.decision is None:
        return tuple((row["venue"], row["symbol"]) for row in chain.commands if row["order"] == chain.order)[:1]
    return markets_of(chain.decision)


def _roles(decision: Row, witnessed: Witness | None) -> dict[int, list[str]]:
    """By seq, what the row was to the decision: it set a price of the pair, or the plan names it."""
    roles: dict[int, list[str]] = {}
    for side, price in (("sell", "bid"), ("buy", "ask")):
        if decision[f"{side}_seq"] is not None:
            roles.setdefault(decision[f"{side}_seq"], []).append(f"set the {price} to {side} at")
    plan = witnessed.decisions[-1].plan if witnessed is not None and witnessed.decisions else None
    for seq in getattr(plan, "quote_seqs", ()):
        roles.setdefault(seq, []).append("planned on")
    return roles


# --- what was decided


def _head(decided: Decided, chain: Chain, note: str) -> Section:
    rows: list[tuple[str, Any]] = [("decided in", decided.title), ("inputs", str(decided.log)), ("state seen", note)]
    made_by = decided.code_digest
    rows.append(("code", "the same as then" if made_by == code_digest() else f"other than then: {str(made_by)[:16]}"))
    if decided.span is not None and chain.decision is not None:
        rows.append(("armed", _armed(decided, chain.decision["after_seq"])))
    if chain.decision is not None:
        verdict = chain.decision["verdict"] + (f": {chain.decision['reason']}" if chain.decision["reason"] else "")
        rows.append(("decision", f"{verdict}, at {moment_of(chain.decision['ts'])} after seq {chain.decision['after_seq']}"))
    subject = f"opportunity {chain.opportunities[0]['opportunity']}" if chain.order is None else f"order {chain.order}"
    return Section("subject", f"Why: {subject}", _WHAT, rows)


def _armed(decided: Decided, seq: int) -> str:
    """Whether bundles could be sent, since when and by whom."""
    assert decided.span is not None
    acts = ("action", "in", [ARM, DISARM, KILL])
    last = decided.rows("operator", ("seq", ">=", decided.span.first), ("seq", "<=", seq), acts, newest=True, limit=1)
    if not last:
        return "yes, from the start" if decided.span.start.opening.armed else "no: nobody had armed it"
    one = last[0]
    return f"{'yes' if one['action'] == ARM else 'no'}: {one['action']} by {one['actor']} at {moment_of(one['ts_recv'])} (seq {one['seq']})"


def _seen(chain: Chain, witnessed: Witness | None) -> list[Section]:
    """The state at the decision, and at the sending where the order came later than that."""
    if witnessed is None:
        return []
    sections: list[Section] = []
    decision: Moment | None = witnessed.decisions[-1] if witnessed.decisions else None
    if decision is not None:
        sections += moment_sections("decision", "What the strategy saw", decision)
    sending = witnessed.sending
    if sending is not None and (decision is None or (sending.after_seq, sending.ts) != (decision.after_seq, decision.ts)):
        purpose = next(row["purpose"] for row in chain.commands if row["order"] == chain.order)
        sections += moment_sections("sending", f"When execution sent it ({purpose}), its money set aside", sending)
    return sections
