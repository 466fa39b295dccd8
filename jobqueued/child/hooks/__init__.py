"""Telemetry hooks: programs that get the record of a live or ended attempt and may add to it.

`hooks` decides which hook is called when; `hook` runs one call under limits. Begin with `hooks`.
"""
