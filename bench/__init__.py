"""Benchmarks; each states its question at the top."""
