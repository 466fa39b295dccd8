"""Commands about job files, which need no daemon: check, cat, edit, reload, language-server.

`job_files` reads files as the daemon would. The findings of `check` are in `ctl/base/findings`. Begin with `check`.
"""
