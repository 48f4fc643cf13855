"""Decides: feed quality, books, opportunities, risk, execution, portfolio. Pure: time and data come in as events."""
