"""Decodes: one file per exchange protocol, frames to events, exact and pure."""
