"""Crontabs, systemd timers and at jobs become job files, with a proof that both mean the same. Jobs become a crontab.

Pure. `draft` is the form between a source and a job file. `reckoning` computes due times a second time, from crontab(5)
alone. Begin with `draft`.
"""
