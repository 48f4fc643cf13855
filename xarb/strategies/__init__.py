"""Strategies: plugins on the engine's strategy seam. Pure."""
