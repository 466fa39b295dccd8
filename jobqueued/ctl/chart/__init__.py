"""jobqueuectl timeline: past runs and their waits as a chart, on a terminal or as an HTML page.

`chart_runs` keeps the few facts of each run that a chart needs; `page/` has the script and style of the HTML page.
Begin with `timeline`.
"""
