"""Commands that change something: run, submit, stop, pause, hold, emit, with-lock; and at(1).

One command a file. Begin with `run`.
"""
