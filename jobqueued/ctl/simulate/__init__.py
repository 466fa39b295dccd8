"""jobqueuectl simulate: coming runs by the real scheduler, and forecasts that are kept and compared.

`snapshot` takes the present host as the start. Begin with `simulate`.
"""
