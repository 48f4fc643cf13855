"""The words of columns that take one of a few; on disk a word is its place in its row here, so that new ones go to the end."""

from __future__ import annotations

from typing import Final

LEVELS: Final = 10  # book levels stored as fixed columns; deeper ones are lists
SIDES: Final = ("bid", "ask")
DIRECTIONS: Final = ("buy", "sell")
AGGRESSORS: Final = ("buy", "sell", "unknown")
INSTRUMENT_KINDS: Final = ("spot", "perpetual", "future", "option", "pool")
CONTRACT_KINDS: Final = ("none", "linear", "inverse")
DELTA_VERDICTS: Final = ("apply", "old", "unsynced")
CONNECTION_EVENTS: Final = ("opened", "subscribed", "gap", "resync", "lost", "closed", "heartbeat")
QUOTE_STATES: Final = ("down", "live", "stale", "gapped", "crossed", "frozen", "outlying")
FEED_STATES: Final = (*QUOTE_STATES, "drifted")  # the last of pools alone: it is not what our maths makes of its events
TIME_IN_FORCE: Final = ("ioc", "fok", "gtc")
COMMAND_KINDS: Final = ("submit", "cancel")
CYCLE_KINDS: Final = (*COMMAND_KINDS, "carried")
REPORT_EVENTS: Final = ("accepted", "fill", "canceled", "rejected", "expired", "unknown", "sent", "not_sent")
# What a real venue's report may say beside these. `sent` and `not_sent` are of the submit; a cancel has events of its own, so that
# none of them can be taken for the order's end. `not_found` alone ends nothing: a venue may not know an order yet.
LIVE_REPORT_EVENTS: Final = (
    *REPORT_EVENTS,
    "not_found",  # a lookup by client id did not find the order; `rejected` follows once that is proven
    "cancel_sent",  # the cancel was handed to the network
    "cancel_failed",  # the cancel was refused, not sent or not answered; the order stands as it was last told
    "foreign",  # an open order of the account that this log did not send; price and quantity are its limit
)
REPORT_SOURCES: Final = ("send", "cancel", "stream", "lookup", "trades")
ORDER_STATES: Final = (
    "pending",
    "accepted",
    "partially_filled",
    "filled",
    "canceled",
    "rejected",
    "expired",
    "unknown",
)
LIQUIDITY: Final = ("taker", "maker")
BREAKER_STATES: Final = ("closed", "open", "half_open")
OPPORTUNITY_PHASES: Final = ("opened", "decided", "closed")
VERDICTS: Final = ("taken", "refused")
LEDGER_CAUSES: Final = (
    "opening",
    "trade",
    "fee",
    "transfer",
    "residue",  # of no row: a rounding is in the amount that it rounds; its place stays, since those behind it are numbered by it
    "adjustment",
    "cycle",  # what a cycle on a chain earned; taken back, with the other sign, where its block is gone
    "gas",  # what a transaction on a chain cost; as above
    "swap",  # what a path of pools took of one token and gave of another; as above
    "foreign",  # what a fill of an order that is none of this start's brought or took
)
RESIDUAL_CAUSES: Final = (
    "dust",  # too small for every venue's least order
    "held",  # not to be flattened any more; refusals say why
    "late_fill",  # taken back, since the bundle goes on
    "orphaned",  # an earlier start left it, and in this one nobody may flatten it; refusals say why
)
BUNDLE_EVENTS: Final = (
    "opened",  # it begins: `plan` says what was planned
    "unbalanced",  # no order of it lives, and its legs do not balance
    "beyond",  # it has lost more than a bundle may
    "closed",  # balanced, come to nothing, or what is left is dust
    "held",  # what is left is not flattened any more
    "reopened",  # a late fill: it goes on
    "carried",  # an earlier start left it without an end: `plan` says which bundle of which start it is
    "kept",  # an earlier start ended it, of late: its orders are kept in mind, since a fill of them may be told yet
)
QUOTE_RULES: Final = (
    "future_event_time",  # E5: ts_event later than ts_recv by more than the tolerance
    "late_event",  # E5: ts_recv - ts_event above the venue's latency limit
    "bad_price",  # a price of zero or less: kept out of the state
    "bad_qty",  # a negative quantity: kept out of the state
    "locked",  # bid equals ask: kept out of the state
    "crossed",  # bid above ask: kept out of the state
    "off_tick",  # a price off the tick grid
    "off_lot",  # a quantity off the lot grid
    "wide_spread",  # spread above k times the median of its sampled spreads
    "off_book",  # a quote's mid away from the book of the same venue
    "outlier",  # mid away from the cross-venue median beyond k MAD and the floor: kept out of trading
    "old_update",  # venue_seq below the last one seen: kept out of the state
    "no_snapshot",  # a delta before any snapshot: kept out of the state
    "unsorted_levels",  # book levels unsorted or repeated: kept out of the state
    "absent_level",  # deletion of a level that is not there
    "too_many_levels",  # more levels than the bound: the farthest dropped from memory
    "book_crossed",  # the book is crossed after a whole message
    "bad_trade",  # a trade without positive price and quantity
    "duplicate_trade",  # trade id seen already
    "trade_gap",  # dense trade ids skip
    "trade_disorder",  # trade id below the last one
    "trade_off_market",  # trade price away from the current book
    "abnormal_edge",  # an edge too good to be true: recorded, not traded
    "frozen",  # unchanged while its peers move
    "jump",  # mid left its usual distance from the cross-venue median in one move: kept out of trading
)
FLAG_RULES: Final = (
    *QUOTE_RULES,
    "block_gap",  # a block that does not stand on the one before: the chain's pools are unknown; `symbol` is empty, value its number
    "block_incomplete",  # fewer or more rows than its `blocks` row says: as above; value rows, bound those it says
    "pool_missed_event",  # it is not what its events made of it: one of them is not in the log
    "pool_wrong_fee",  # swaps are as of another fee; value that one, bound ours, in ppm
    "pool_fee_on_transfer",  # more left the pool than it sent: a token takes a part
    "pool_unknown_drift",  # neither of these
)
POOL_KINDS: Final = ("v2", "v3")
POOL_CAUSES: Final = (
    "snapshot",  # the whole pool as of the end of the block
    "sync",  # v2: the reserves after anything
    "initialize",  # v3: its first price
    "swap",  # v3
    "mint",  # v3: liquidity added to a range
    "burn",  # v3: liquidity taken from a range
)
TRANSACTION_EVENTS: Final = (
    "intent",  # it took its nonce and is about to leave
    "sent",  # a node or a relay has it
    "not_sent",  # certain that it did not leave
    "unknown",  # it may have left
    "mined",  # a block holds it
    "final",  # that block is deep enough
    "replaced",  # another transaction has its nonce
    "dropped",  # neither the chain nor the node has it, and its nonce is free
    "reorged",  # the block that held it, or what replaced it, is gone
    "adopted",  # no transaction: nonces below this one were used by others, or before this log
    "refused",  # no transaction was made, and no nonce taken
    "halted",  # no transaction: none is sent any more, and why
)
TRANSACTION_PURPOSES: Final = ("trade", "replacement", "cancel", "approve", "none")
TRANSACTION_CHANNELS: Final = ("public", "relay", "none")
CYCLE_STATES: Final = (
    "pending",  # the wish left the engine
    "sent",  # a transaction may be included
    "succeeded",  # a block holds it, with a profit
    "reverted",  # a block holds it, and it cost gas
    "dropped",  # it can never succeed any more
    "refused",  # no transaction was made
    "final",  # its block is deep enough, or what took its place is
)
CYCLE_EVENTS: Final = ("sent", "unknown", "refused", "succeeded", "reverted", "dropped", "reorged", "final")
LENDERS: Final = ("balancer", "flash", "aave")  # as ways to pay: FUNDINGS without those that nobody lends for
FUNDINGS: Final = ("callback", "wallet", "balancer", "flash", "aave")
BLOCK_EVENTS: Final = ("added", "removed")
RECEIPT_STATUSES: Final = ("succeeded", "reverted", "dropped")
