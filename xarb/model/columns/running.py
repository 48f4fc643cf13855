"""Inputs about the running itself: connections, readings, timers, acts of persons, starts, and what could not be read."""

from __future__ import annotations

from typing import Final

from xarb.model.columns.shared import ENVELOPE, VENUE
from xarb.model.columns.table import Column, Type, counter, enum, input_table, small, text, time, whole
from xarb.model.columns.words import CONNECTION_EVENTS

RUNNING: Final = (
    input_table(
        "connections",
        "Life of a connection: epochs, gaps, resyncs. An imported file is a connection too.",
        *ENVELOPE,
        small("conn", "number of the connection, unique in the log"),
        VENUE,
        text("symbol", "symbol concerned; null for the whole connection", nullable=True),
        enum("event", CONNECTION_EVENTS, "what happened"),
        small("epoch", "counts the connects of this connection from 1"),
        text("source", "address or file"),
        text("time_rule", "how ts_recv was made when the source has none", nullable=True),
        text("detail", "what is known of the cause", nullable=True),
    ),
    input_table(
        "health",
        "Clock, disk, queue, lag and heartbeat readings.",
        *ENVELOPE,
        text("venue", "venue concerned", nullable=True),
        text("metric", "name with unit, such as clock_offset_ns"),
        whole("value", "reading"),
        text("detail", "what is known of it", nullable=True),
    ),
    input_table(
        "timers",
        "A scheduled wake as it was delivered live.",
        *ENVELOPE,
        text("strategy", "strategy that asked for it"),
        time("due", "time on the grid for which it was asked"),
        small("missed", "grid times coalesced into this one"),
    ),
    input_table(
        "operator",
        "An act of a person, or of the session for one: arm, disarm, kill, reset, settings; discrepancy: an account differs from our books; keys: what a key may do.",
        *ENVELOPE,
        text("action", "what was asked"),
        text("actor", "who asked"),
        text("detail", "arguments", nullable=True),
    ),
    input_table(
        "rejects",
        "Bad input, kept with the rule that it broke.",
        *ENVELOPE,
        small("conn", "connection that delivered it", nullable=True),
        text("venue", "venue", nullable=True),
        text("symbol", "symbol where it could be read", nullable=True),
        text("source", "file or address"),
        whole("line", "line or row in the source, from 1", nullable=True),
        text("rule", "rule that it broke"),
        text("detail", "what was wrong"),
        text("payload", "the offending text, at most 4,096 characters", nullable=True),
    ),
    input_table(
        "starts",
        "A start of the engine on this log.",
        *ENVELOPE,
        small("number", "counts starts of this log from 1"),
        text("log_id", "identity of the log"),
        text("code_digest", "sha256 of the package's source"),
        text("config", "the effective config, JSON"),
        whole("seed", "seed of every random draw"),
        text("mode", "paper or live"),
        text("opening", "opening state, JSON"),
        counter("applied_seq", "last input that the start before applied; all its outputs are in the log", nullable=True),
    ),
    input_table(
        "frames",
        "A raw message as it arrived, before any decoding: what the decoders made of it follows behind it.",
        *ENVELOPE,
        small("conn", "connection that delivered it"),
        VENUE,
        text("native", "of an answer to a request: the venue's name of the instrument; null for the stream", nullable=True),
        Column("payload", Type.BYTES, "the bytes"),
    ),
)
