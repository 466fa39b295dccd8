"""A plain field of a cron expression, expanded by croniter.

It would load dateutil and pytz for walks through time, and ask file(1), by platform, for the machine's word size: much
of what the start of a command costs that reads job files.
"""

from collections.abc import Sequence

from jobqueued.hollow import own_copy, without

_WALKS = ("dateutil", "dateutil.relativedelta", "dateutil.tz", "pytz")
with own_copy("croniter"), without(hollow=_WALKS, covered=("platform",)):
    from croniter import croniter


def expanded(fields: Sequence[str], index: int) -> Sequence[int | str]:
    """The values of the field at that place; ["*"]: all."""
    return croniter.expand(" ".join(fields))[0][index]
