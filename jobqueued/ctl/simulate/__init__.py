"""jobqueuectl simulate: future runs from the real scheduler, and forecasts that are saved and checked.

`snapshot` takes the present host as the start. Begin with `simulate`.
"""
