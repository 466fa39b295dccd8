"""Live attempts from the scheduler's side: their directories, the launcher, the fleet's agent, and recovery.

`run_directory` reads R, the directory of one attempt; `recovery` gives a verdict on each attempt at the start. Begin
with `run_directory`.
"""
