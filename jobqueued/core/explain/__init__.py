"""Explanations for people: why a run waits, when it may start, and which jobs need attention.

Nothing here changes the state. Begin with `why`.
"""
