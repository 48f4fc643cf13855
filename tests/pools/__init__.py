"""Pools: integers equal to the contracts."""
