"""OKX v5: spot market data and orders over REST and sockets, as its documentation describes them (2026-07)."""
