"""Telemetry hooks: programs that get a live or ended attempt's record, and may add data to it.

`hooks` decides when to call which hook. `hook` runs one call under limits. Begin with `hooks`.
"""
