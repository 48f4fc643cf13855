"""Keys of an experiment file for those who look on: `[watch]` and `[[alerts]]`. `xarb.config` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from xarb.config.kinds import Count, doc

Rule = Literal[
    "killed",
    "disarmed",
    "stopped",
    "dead",
    "silent",
    "unreadable",
    "feed_down",
    "gaps",
    "rejects",
    "order_unknown",
    "order_rejects",
    "breaker",
    "key_refused",
    "astray",
    "drawdown",
    "day_loss",
    "disk_low",
    "clock_offset",
    "seal_failed",
]


class WatchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[watch]`: what another process makes of a log that is being written (docs/operations.md)."""

    metrics_port: Annotated[
        int, msgspec.Meta(ge=0, le=65_535, description="port on loopback that serves metrics in Prometheus' text format; 0: none")
    ] = 0
    repeat_s: Annotated[Count, doc("least time between two messages about the same thing")] = 900
    silent_s: Annotated[Count, doc("nothing written for so long although the process lives: `silent`")] = 30
    unarmed_s: Annotated[Count, doc("a start that has not armed for so long: `disarmed`; an act of disarming is told at once")] = (
        120
    )
    feed_down_s: Annotated[Count, doc("a connection lost, or a feed not tradable, for so long: `feed_down`")] = 30
    gaps_per_min: Annotated[Count, doc("gaps within a minute: `gaps`; 0 switches the rule off")] = 20
    rejects_per_min: Annotated[Count, doc("bad input rows within a minute: `rejects`; 0 switches the rule off")] = 60
    order_rejects_per_min: Annotated[Count, doc("orders that venues refuse within a minute: `order_rejects`; 0: off")] = 10
    drawdown: Annotated[
        dict[str, Decimal], doc("by currency, fall of the trading PnL from its peak in this start: `drawdown`")
    ] = {}
    day_loss: Annotated[dict[str, Decimal], doc("by currency, what the UTC day may lose over all starts: `day_loss`")] = {}
    disk_mb: Annotated[Count, doc("free disk space, in MB, below which: `disk_low`")] = 3000
    clock_offset_ms: Annotated[Count, doc("distance of an exchange's clock from ours beyond which: `clock_offset`")] = 50


class AlertConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[alerts]]`: one place that is told. Secrets are named, not written: `url_env` and `token_env` are environment variables."""

    kind: Annotated[Literal["webhook", "telegram", "command", "heartbeat"], doc("how it is told")]
    on: Annotated[tuple[Rule, ...], doc("rules that it is told of; none means all")] = ()
    url: Annotated[str | None, doc("address of a webhook or heartbeat, or a Bot API in place of Telegram's own")] = None
    url_env: Annotated[str | None, doc("environment variable that holds it, where the address itself is a secret")] = None
    token_env: Annotated[str | None, doc("environment variable with the bot's token, or the bearer token of a webhook")] = None
    chat: Annotated[str | None, doc("Telegram chat id")] = None
    command: Annotated[
        tuple[str, ...], doc("program and arguments; the text comes on standard input, XARB_RULE names the rule")
    ] = ()
    daily_at: Annotated[str | None, doc("time of day in UTC, such as 06:00, at which a summary is sent")] = None
    every_s: Annotated[
        int, msgspec.Meta(ge=1, le=86_400, description="interval of a heartbeat, which is sent only while the log is written")
    ] = 60
