"""The methods of the control socket, by subject. Each method is a function with the decorator `method`.

`record_calls` has ended runs and history, `run_calls` live runs, `submit_calls` and `accepted_submissions` submissions.
Begin with `run_calls`.
"""
