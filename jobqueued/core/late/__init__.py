"""Late runs and overdue jobs; each is reported once.

`lateness` is about runs, `expectation` about jobs with the key `expect`. Begin with `lateness`.
"""
