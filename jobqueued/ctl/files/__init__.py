"""Commands about job files: check, cat, edit, reload, language-server.

`job_files` reads job files in the daemon's way. `check`'s findings are in `ctl/base/findings`. Begin with `check`.
"""
