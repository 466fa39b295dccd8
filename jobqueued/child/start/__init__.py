"""Starting a job's command: user, environment, limits, lock files, and exec.

`starting` starts the process in its cgroup. `spawn` chooses between posix_spawn and fork, and reports the failed step.
Begin with `spawn`.
"""
