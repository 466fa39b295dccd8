"""Foresight: the real scheduler under a virtual clock, runs taking as long as they have before."""
