"""Live attempts as the scheduler sees them: their directories, the launcher, the fleet's agent, and recovery after a
crash.

`run_directory` reads R, the directory of one attempt; `recovery` gives a verdict on each at the start. Begin with
`run_directory`.
"""
