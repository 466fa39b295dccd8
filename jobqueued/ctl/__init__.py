"""jobqueuectl, the command line client.

`main` lists all commands by task and imports a command's file only when it is called. Each folder has the commands of
one subject; `base/` is what they share. Begin with `main`.
"""
