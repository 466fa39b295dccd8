"""A plain field of a cron expression, expanded by croniter.

Without the stubs, croniter would load dateutil, pytz, calendar, random and traceback, and would run file(1), through
platform, to get the machine's word size.  This would take a large part of the start time of a command that reads job
files.
"""

from collections.abc import Sequence

from jobqueued.base.import_stubs import own_copy, without

_NEEDLESS = ("calendar", "dateutil", "dateutil.relativedelta", "dateutil.tz", "pytz", "random", "traceback")
with own_copy("croniter"), without(hollow=_NEEDLESS, covered=("platform",)):
    from croniter import croniter


def expanded(fields: Sequence[str], index: int) -> Sequence[int | str]:
    """Return the values of the field at this index; ["*"] means all."""
    return croniter.expand(" ".join(fields))[0][index]
