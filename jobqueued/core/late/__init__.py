"""Runs that are late and jobs that are overdue; each is reported once.

`lateness` is about runs, `expectation` about jobs with the key `expect`. Begin with `lateness`.
"""
