"""A plain field of a cron expression, expanded by croniter.

It would load dateutil, pytz and calendar for walks through time, random for draws that differ each time and traceback
for a field that is none, and ask file(1), by platform, for the machine's word size: much of what the start of a command
costs that reads job files.
"""

from collections.abc import Sequence

from jobqueued.hollow import own_copy, without

_NEEDLESS = ("calendar", "dateutil", "dateutil.relativedelta", "dateutil.tz", "pytz", "random", "traceback")
with own_copy("croniter"), without(hollow=_NEEDLESS, covered=("platform",)):
    from croniter import croniter


def expanded(fields: Sequence[str], index: int) -> Sequence[int | str]:
    """The values of the field at that place; ["*"]: all."""
    return croniter.expand(" ".join(fields))[0][index]
