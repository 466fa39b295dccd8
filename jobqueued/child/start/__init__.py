"""The start of a job's command: its user, environment, limits, lock files, and the exec itself.

`starting` puts the process inside its cgroup; `spawn` chooses between posix_spawn and fork, and names the step that
failed. Begin with `spawn`.
"""
