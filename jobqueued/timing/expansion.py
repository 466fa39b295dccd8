"""A plain field of a cron expression, expanded by croniter.

croniter would load dateutil, pytz and calendar for walks through time, random for random draws, and traceback for
errors, and would run file(1), through platform, to get the machine's word size. That is a large part of the start time
of a command that reads job files.
"""

from collections.abc import Sequence

from jobqueued.base.import_stubs import own_copy, without

_NEEDLESS = ("calendar", "dateutil", "dateutil.relativedelta", "dateutil.tz", "pytz", "random", "traceback")
with own_copy("croniter"), without(hollow=_NEEDLESS, covered=("platform",)):
    from croniter import croniter


def expanded(fields: Sequence[str], index: int) -> Sequence[int | str]:
    """Return the values of the field at that place; ["*"] means all."""
    return croniter.expand(" ".join(fields))[0][index]
