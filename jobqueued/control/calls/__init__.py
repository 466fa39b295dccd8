"""The methods of the control socket, by subject. Each method is a function with the decorator `method`.

`record_calls` is for ended runs and history, `run_calls` for live runs, `submit_calls` and `accepted_submissions` for
submissions. Begin with `run_calls`.
"""
