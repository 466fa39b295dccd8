"""Ended runs: history, audit, and answers from files while the daemon is down.

`offline` reads job files, records and the directories of live runs. Begin with `history`.
"""
