"""Due times of jobs, in any zone and over any change of the clock. Pure.

`schedule` has the triggers; `cronexpr` is the grammar of a cron expression. Begin with `schedule`.
"""
