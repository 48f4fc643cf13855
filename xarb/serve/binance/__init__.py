"""Binance spot: REST, market streams and the WebSocket API, as its documentation describes them (binance-spot-api-docs, 2026-02)."""
