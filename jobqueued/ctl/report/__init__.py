"""jobqueuectl report: the runs of a period, with failures, slowdowns and waits.

`run_report` computes it; `report_page` shows it as text, HTML or a mail. Begin with `run_report`.
"""
