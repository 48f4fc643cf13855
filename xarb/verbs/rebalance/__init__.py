"""The rebalance verb: the cheapest transfers that bring an account's assets back to their targets, as a plan that a person carries out."""

from __future__ import annotations

from xarb.verbs.rebalance.verb import Rebalance, rebalance

__all__ = ["Rebalance", "rebalance"]
