"""What forbids nothing at a start and should be known: said on standard error, and a reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from xarb.assembly.resolved import Resolved
from xarb.assembly.rounds import left_out
from xarb.console import say
from xarb.model.instrument import Instrument
from xarb.venues.intake import Intake
from xarb.venues.readiness import WARNING, Readiness

LEFT_OUT: Final = "cycles_left_out"  # so many cycles may earn at once that no search looks at


def tell_of_accounts(readiness: Iterable[Readiness], intake: Intake) -> None:
    """Of the accounts."""
    for one in readiness:
        for warning in one.warnings:
            say(f"{one.account} at {one.venue}: {warning}")
        if one.warnings:
            intake.health(WARNING, len(one.warnings), one.venue, f"{one.account}: {'; '.join(one.warnings)}")


def tell_of_cycles(resolved: Resolved, instruments: Sequence[Instrument], intake: Intake) -> None:
    """Of strategies that may leave cycles out."""
    for one in left_out(resolved, instruments):
        say(one.told)
        intake.health(LEFT_OUT, one.left_out, None, one.told)
