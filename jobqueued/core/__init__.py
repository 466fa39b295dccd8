"""The scheduler's logic for runs: it turns events into commands. Time is an argument; no code here reads a clock or a
file.

`scheduler` maps each event to the function that handles it. `trace` records events and decisions so that they can be
replayed. Begin with `scheduler`.
"""
