"""jobqueuectl top: live runs, waiting runs and problems on a screen that follows them.

`top_view` makes the lines, `top_screen` handles the keys. Begin with `top`.
"""
