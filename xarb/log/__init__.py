"""Remembers: sealed Parquet segments, their manifest, and the reader that streams them back in order."""
