"""Due times of jobs, in any timezone and across clock changes.  Pure.

`schedule` has the triggers; `cronexpr` is the grammar of a cron expression. Begin with `schedule`.
"""
