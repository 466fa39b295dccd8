"""State that survives a restart: the queue and history in state.db, and a record file for each run.

`commits` saves each turn's changes, and retries while the disk fails. `takeover` reads records that are absent from
state.db. `housekeeping` deletes old records, under the limits in `retention` and `disk_budget`. `db/` handles the file
state.db. Begin with `commits`.
"""
