"""Conversion of crontabs, systemd timers and at jobs to job files, with a proof that both mean the same, and of jobs to
a crontab.

Pure. `draft` has the form between a source and a job file. `reckoning` computes due times a second time, from
crontab(5) alone. Begin with `draft`.
"""
