"""Due times of jobs, in any timezone and across clock changes. Pure.

`schedule` has the triggers; `cronexpr` defines the grammar of cron expressions. Begin with `schedule`.
"""
