"""memory/engines."""
