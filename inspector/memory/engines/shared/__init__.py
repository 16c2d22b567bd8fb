"""What several engines ask of a checkpoint and of a cache."""
