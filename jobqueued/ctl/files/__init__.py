"""Commands about job files: check, cat, edit, reload, language-server.

`job_files` reads files as the daemon would. The findings of `check` are in `ctl/base/findings`. Begin with `check`.
"""
