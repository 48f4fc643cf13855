"""Every error that xarb raises, split by what the caller should do about it.

XarbError
├── ConfigError       fix the input (a file, a key, an argument) and run again      exit code 2
├── Refused           a check said no; nothing is broken                            exit code 1
│   └── Killed        a person killed trading and has not taken it back             exit code 3
├── StrategyFailed    a strategy of the user's own raised something                exit code 1
├── Interrupted       a person stopped it; the message says what was kept           exit code 130
├── LogError          stop: the log is damaged, incomplete or cannot be written     exit code 1
├── VenueError        the outside world; one of the three below
│   ├── Retryable     nothing happened at the venue; the same call may be repeated
│   ├── Rejected      the venue said no, and that is certain
│   └── OutcomeUnknown  sent, fate unknown: reconcile, never resend
└── InvariantBroken   a bug of ours: crash
"""

from __future__ import annotations


class XarbError(Exception):
    """Root of the tree; the command line prints its text and exits with `exit_code`."""

    exit_code = 1


class ConfigError(XarbError):
    """The input is wrong: the message names the file and the key, line or argument, and what is allowed."""

    exit_code = 2


class Refused(XarbError):
    """A check refused to go on; the message says which and what would satisfy it."""


class Killed(Refused):
    """Trading was killed, and nobody has taken that back: no supervisor is to try again."""

    exit_code = 3


class StrategyFailed(XarbError):
    """A strategy of the user's own raised something; the message has file and line."""


class Interrupted(XarbError):
    """A person stopped the command (Ctrl-C); the message says what was kept of it."""

    exit_code = 130


class LogError(XarbError):
    """A log is damaged, incomplete, of another format, or cannot be written."""


class VenueError(XarbError):
    """Something went wrong at or on the way to a venue; `reason` names it in one word."""

    def __init__(self, text: str = "", *, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class Retryable(VenueError):
    """Certain that nothing happened at the venue; the same call may be repeated."""


class Rejected(VenueError):
    """The venue refused, and that is certain."""


class OutcomeUnknown(VenueError):
    """The request left and its fate is unknown: reconcile, never resend."""


class InvariantBroken(XarbError):
    """A promise of our own code does not hold; the state can no longer be trusted."""
