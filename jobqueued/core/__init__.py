"""The life of runs: events in, commands out. Time is an argument; nothing here reads a clock or a file.

`scheduler` maps each event to the function that handles it. `trace` records events and decisions for a replay. Begin
with `scheduler`.
"""
