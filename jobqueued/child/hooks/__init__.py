"""Telemetry hooks: programs that get the record of a live or ended attempt, and may add data to it.

`hooks` decides when to call which hook; `hook` runs a call under limits. Begin with `hooks`.
"""
