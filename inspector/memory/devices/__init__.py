"""Devices: the GPUs people own, and which layer goes to which."""
