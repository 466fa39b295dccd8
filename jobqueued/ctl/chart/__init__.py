"""jobqueuectl timeline: past runs and their waits as a chart, on a terminal or as an HTML page.

`chart_runs` stores the few facts about each run that a chart needs. `page/` has the HTML page's script and style. Begin
with `timeline`.
"""
