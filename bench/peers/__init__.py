"""Other schedulers beside ours: the same jobs, on the same machine, in the same run: `python -m bench.peers`."""
