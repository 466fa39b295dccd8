"""A plain field of a cron expression, expanded by croniter.

Stubs replace modules that croniter would load: dateutil, pytz, calendar, random and traceback. They also prevent
croniter from running file(1) through the module platform to get the machine's word size. Without these stubs, the
import would take a large part of the start time of commands that read job files.
"""

from collections.abc import Sequence

from jobqueued.base.import_stubs import own_copy, without

_NEEDLESS = ("calendar", "dateutil", "dateutil.relativedelta", "dateutil.tz", "pytz", "random", "traceback")
with own_copy("croniter"), without(stubbed=_NEEDLESS, covered=("platform",)):
    from croniter import croniter


def expanded(fields: Sequence[str], index: int) -> Sequence[int | str]:
    """Return the values of the field at this index; ["*"] means all values."""
    return croniter.expand(" ".join(fields))[0][index]
