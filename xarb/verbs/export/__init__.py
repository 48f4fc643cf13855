"""Books of what was traded, as files for somebody who keeps accounts: fills, transfers, and a ledger in double entry."""
