"""Simulation: the real scheduler under a virtual clock, in which runs take as long as they usually took. Pure.

`simulated_host` jumps from event to event; `futures` plays several draws of it. Begin with `simulated_host`.
"""
