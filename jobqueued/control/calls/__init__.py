"""The methods of the control socket, by subject; each is one function with the decorator `method`.

Ended runs and history are in `record_calls`, live ones in `run_calls`, submissions in `submit_calls` and
`accepted_submissions`. Begin with `run_calls`.
"""
