"""Touches the world: everything that takes commands and yields inputs."""
