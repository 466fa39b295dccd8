"""Foresight: the real scheduler under a virtual clock; simulated runs take as long as real runs took."""
