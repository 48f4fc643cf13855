"""Tests of watching a log."""
