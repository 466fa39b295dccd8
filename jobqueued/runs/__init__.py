"""Live attempts as the scheduler sees them: their directories, the launcher, the fleet's agent, and recovery.

`run_directory` reads R, the directory of one attempt. At the start, `recovery` decides what became of each attempt.
Begin with `run_directory`.
"""
