"""Watches a log from another process: metrics for machines, alerts for people."""

from __future__ import annotations
