"""State that survives a restart: the queue and history in state.db, and a record file for each run.

`commits` saves each turn's changes, or retries while the disk fails; `takeover` reads records that state.db lacks.
`housekeeping` deletes old records, by the limits in `retention` and `disk_budget`.
`db/` is about the file state.db. Begin with `commits`.
"""
