"""The life of runs: events in, commands out. Time is an argument; nothing here reads a clock or a file.

`scheduler` has the table of which function handles which event. `trace` records events and decisions so that they can
be replayed. Begin with `scheduler`.
"""
