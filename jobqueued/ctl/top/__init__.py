"""jobqueuectl top: live runs, waiting runs and problems on a screen that is refreshed.

`top_view` makes the lines; `top_screen` handles the keys. Begin with `top`.
"""
