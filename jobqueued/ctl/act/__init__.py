"""Commands that act: run, submit, stop, pause, hold, emit, with-lock, and at(1).

Begin with `run`.
"""
