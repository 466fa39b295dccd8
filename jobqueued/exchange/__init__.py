"""Converts crontabs, systemd timers and at jobs to job files, with a proof of equal meaning, and jobs to a crontab.

Pure. `draft` defines the intermediate form between a source and a job file. `reckoning` computes due times a second
time, from crontab(5) alone. Begin with `draft`.
"""
