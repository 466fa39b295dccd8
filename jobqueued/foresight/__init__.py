"""Simulation: the real scheduler under a virtual clock, with durations drawn from past runs. Pure.

`simulated_host` jumps from event to event; `futures` simulates a host several times, with different random durations.
Begin with `simulated_host`.
"""
