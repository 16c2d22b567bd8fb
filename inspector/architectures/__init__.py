"""Registries: how each architecture's own keys become layers. A new architecture is one row."""
