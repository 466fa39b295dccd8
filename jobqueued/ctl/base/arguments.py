"""Parsers for the arguments and options that users type: times, durations, names."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from jobqueued.base.instants import SECOND, to_datetime, to_instant
from jobqueued.settings.paths import NoPlace, Paths

if TYPE_CHECKING:
    from jobqueued.model.run import RunId

_FIRST = to_datetime(0)
"""Earliest instant; an earlier time means this instant."""


class NoInstance(click.ClickException):
    """Raised if the directories of the user's own instance (--user) are unknown; the message has the remedy."""

    exit_code = 2


def chosen(context: click.Context) -> Paths:
    """Return the paths that the options of `main` select; typed options override the environment.

    Raises ClickException.
    """
    given = {name: context.params.get(name) for name in ("root", "user", "config", "jobs", "run", "logs")}
    if given["root"] and given["user"]:
        typed = [name for name in ("root", "user") if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
        if len(typed) != 1:
            names = "--root and --user" if typed else "JOBQUEUE_ROOT and JOBQUEUE_USER"
            raise click.UsageError(f"{names} can't be combined.", context)
        given["user" if typed == ["root"] else "root"] = None
    try:
        return Paths.chosen(given.pop("root"), user=bool(given.pop("user")), **given)
    except NoPlace as why:
        raise NoInstance(f"{why}{_meant(context)}") from None


def _meant(context: click.Context) -> str:
    """Return a hint about --of-user if the command has this option, else ""; the user may have meant it."""
    group, name = context.command, context.invoked_subcommand
    command = group.get_command(context, name) if isinstance(group, click.Group) and name else None
    has_it = command is not None and any("--of-user" in it.opts for it in command.params)
    return "; for the runs of a user: --of-user NAME" if has_it else ""


def refuse_empty(context: click.Context, words: list[str]) -> None:
    """Raise UsageError if an option or argument is empty, usually a script's unset variable.

    Only unprocessed values may be empty: the words of a COMMAND, and the user of a crontab.
    """
    if context.resilient_parsing:
        return
    given, _, _ = context.command.make_parser(context).parse_args(list(words))
    for parameter in context.command.params:
        value = given.get(parameter.name or "")
        if parameter.type is not click.UNPROCESSED and "" in (value if isinstance(value, list | tuple) else [value]):
            is_option = isinstance(parameter, click.Option)
            name = parameter.opts[-1] if is_option else parameter.human_readable_name.strip("[].")
            remedy = "enter a value" if parameter.required else f"enter a value, or omit {name}"
            raise click.UsageError(f"{name} is empty, perhaps because a variable is unset; {remedy}", context)


def past_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Parse a time in the past to an instant (wall, ns). The duration `2h` means 2 hours ago. Raises BadParameter."""
    instant = (
        None if text is None else _instant(text, -1, "2h or 1d12h (ago), 18:00, 2am, 'monday 9am', today, yesterday")
    )
    if instant is not None and instant > time.time_ns():
        raise click.BadParameter(f"{text!r} is in the future")
    return instant


def kept_time(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Parse a time in the past to an instant (wall, ns). Raises BadParameter for a time at or before the start of 1970,
    because no data is that old.
    """
    instant = past_time(context, parameter, text)
    if instant == 0:
        raise click.BadParameter(f"{text!r} is before all saved records")
    return instant


def check_period(since: int | None, until: int | None) -> None:
    """Raise UsageError if the period is empty, because the user probably mistyped one end."""
    if since is not None and until is not None and until <= since:
        begin, end = (f"{to_datetime(instant).astimezone():%Y-%m-%d %H:%M:%S %Z}" for instant in (since, until))
        raise click.UsageError(f"--since ({begin}) is not before --until ({end}).")


def future_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Parse a time in the future to an instant (wall, ns). The duration `2h` means 2 hours from now. Raises
    BadParameter.
    """
    instant = None if text is None else _instant(text, 1, "2h or 1d12h (from now), 18:00, 5pm, 'monday 9am', tomorrow")
    if instant is not None and instant <= time.time_ns():
        raise click.BadParameter(f"{text!r} is in the past")
    return instant


def duration(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Parse a duration to seconds. Raises BadParameter."""
    from jobqueued.jobfile.types.spelling import parse_duration

    try:
        return None if text is None else parse_duration(text) / SECOND
    except ValueError:
        raise click.BadParameter(f"found {text!r}; expected a duration such as 30s, 5m, 2h or 1d12h") from None


def name(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """Parse the name of a lock, a resource or an event. Raises BadParameter."""
    from jobqueued.jobfile.tree.words import A_NAME, is_name

    if not is_name(text):
        raise click.BadParameter(f"{text!r}; expected {A_NAME}")
    return text


def lock_name(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Parse the name of a lock, or of a resource with units. A fleet's lock has the prefix fleet/."""
    from jobqueued.model.fleet import FLEET
    from jobqueued.model.job import CPU, MEMORY

    if f":{text}".startswith(FLEET):
        return f"{FLEET[1:]}{name(context, parameter, f':{text}'.removeprefix(FLEET))}"
    if text in (CPU, MEMORY):
        raise click.BadParameter(f"only runs can hold {text!r}; expected a lock, or another resource")
    return name(context, parameter, text)


def any_lock(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Parse the name of a lock, the path of a lock file, or tag: with a tag."""
    return text if text is None or text.startswith(("/", "tag:")) else lock_name(context, parameter, text)


def holder(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Parse the name of a lock's holder: a with-lock command (`:with-lock@3`) or a run. Raises BadParameter."""
    if text is not None:
        from jobqueued.model.run import LockClientId, RunId

        try:
            LockClientId.parse(text) if text.startswith(":") else RunId.parse(text)
        except ValueError:
            told = f"{text!r}; expected the HOLDER of a lock such as :with-lock@3; see: jobqueuectl locks"
            raise click.BadParameter(told) from None
    return text


def run_id(text: str) -> RunId:
    """Parse the id of a run. Raises UsageError, whose message shows the format."""
    from jobqueued.model.run import RunId

    try:
        return RunId.parse(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _instant(text: str, direction: int, accepted: str) -> int:
    from jobqueued.jobfile.types.spelling import parse_duration

    try:
        if re.fullmatch("[0-9]+[dhms].*", text):
            instant = time.time_ns() + direction * parse_duration(text)
            return to_instant(max(to_datetime(instant), _FIRST))
        moment = _day_or_hour(text, direction)
        return to_instant(max(_moment(text) if moment is None else moment.astimezone(), _FIRST))
    except (ValueError, OverflowError, StopIteration):
        if (found := _in_words(text, direction)) is not None:
            return found
        day = f"{datetime.now() + timedelta(days=7 * direction):%Y-%m-%d}"
        forms = f"{accepted}, {day}, '{day} 18:00', or RFC 3339"
        raise click.BadParameter(f"{text!r}; expected {forms}") from None


def _in_words(text: str, direction: int) -> int | None:
    """Parse a time such as `tomorrow 3pm`, or `yesterday 3pm` if `direction` < 0; None for other texts.

    Raises BadParameter.
    """
    from jobqueued.timing.timespec import NoTime, TimeError, read, read_past

    try:
        return (read if direction > 0 else read_past)(text, time.time_ns(), zone_here())
    except (NoTime, NoZone):
        return None
    except TimeError as wrong:
        raise click.BadParameter(str(wrong)) from None


class NoZone(ValueError):
    """Raised if TZ is not the name of a time zone."""


def zone_here() -> str:
    """Return the time zone for times such as `tomorrow 3pm`: $TZ if set, else the host's.

    Raises NoZone if TZ is not a zone's name.
    """
    name = os.environ.get("TZ", "").removeprefix(":")
    if name:
        from zoneinfo import ZoneInfo

        try:
            return ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            raise NoZone(f"TZ is {name!r}; expected the name of a zone, such as Europe/Berlin") from None
    from jobqueued.settings.host_names import host_timezone

    return host_timezone()


_WITH_ZONE = "(.*[0-9]:[0-9]{2}) ([A-Za-z]{2,}|[+-][0-9]{2,4})"


def _moment(text: str) -> datetime:
    """Parse a date, with or without a time of day, in RFC 3339 or in the format that the commands print."""
    if (named := re.fullmatch(_WITH_ZONE, text)) is None:
        return _there(datetime.fromisoformat(text), text)
    moment, zone = datetime.fromisoformat(named[1]), named[2]
    if zone == "UTC":
        return moment.replace(tzinfo=UTC)
    # in a repeated hour, the zone's name selects one
    both = [moment.replace(fold=fold).astimezone() for fold in (0, 1)]
    return next(it for it in both if it.tzname() == zone)


def _there(moment: datetime, text: str) -> datetime:
    """Return the moment in the local zone. Raises BadParameter if a clock change skips this time."""
    here = moment.astimezone()
    if moment.tzinfo is None and ":" in text and here.replace(tzinfo=None) != moment:
        near = " or ".join(f"{it:%Y-%m-%d %H:%M}" for it in sorted([here, moment.replace(fold=1).astimezone()]))
        raise click.BadParameter(f"{text!r} does not exist: a clock change skips it; expected {near}")
    return here


def _day_or_hour(text: str, direction: int) -> datetime | None:
    """Parse `yesterday`, `today`, `tomorrow` or a time of day; `direction` selects the next or last one. Return None
    for other texts.
    """
    now = datetime.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = {"yesterday": -1, "today": 0, "tomorrow": 1}
    if text in days:
        return midnight + timedelta(days=days[text])
    if re.fullmatch("[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?", text):
        hour, minute, second = map(int, f"{text}:0".split(":")[:3])
        moment = midnight.replace(hour=hour, minute=minute, second=second)
        return moment if (moment > now) == (direction > 0) else moment + timedelta(days=direction)
    return None


def of_environment() -> Paths:
    """Return the paths for programs without jobqueued's options: below $JOBQUEUE_ROOT if set, else the system paths."""
    root = os.environ.get("JOBQUEUE_ROOT")
    return Paths.chosen(Path(root) if root else None).as_left()
