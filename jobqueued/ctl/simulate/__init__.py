"""jobqueuectl simulate: future runs simulated with the real scheduler, and forecasts that are saved and checked.

`snapshot` returns the host's current state, where a simulation starts. Begin with `simulate`.
"""
