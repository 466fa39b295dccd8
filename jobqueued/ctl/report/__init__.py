"""jobqueuectl report: the runs of a period, with failures, slowdowns and waits.

`run_report` computes the report; `report_page` formats it as text or HTML. Begin with `run_report`.
"""
