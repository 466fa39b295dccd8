"""jobqueuectl, the command line client.

`main` lists all commands by task, and imports a command's file only when the command is called. Each folder has the
commands of one subject; `base/` has code that commands share. Begin with `main`.
"""
