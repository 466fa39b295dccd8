"""jobqueuectl simulate: future runs simulated with the real scheduler, and forecasts that are saved and checked.

`snapshot` returns the present host, where a simulation begins. Begin with `simulate`.
"""
