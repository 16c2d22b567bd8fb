"""Facts and a workload in, bytes out: pure arithmetic, no file is read here."""
