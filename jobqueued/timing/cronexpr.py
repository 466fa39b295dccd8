"""A cron expression: its grammar, and the wall times that match it.

The grammar is that of Vixie's crontab(5), with `L`, `#` and Jenkins' `H`. This module checks expressions, because
croniter accepts dubious ones. Then croniter expands each plain field, and the search for matches uses the expanded sets
and naive wall time.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache

from jobqueued.base.sha256 import sha256
from jobqueued.base.text import counted
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.timing.crontab import ALIASES, behind_the_fields, field_drawn_once, meant_time
from jobqueued.timing.expansion import expanded


class ScheduleError(ValueError):
    """An expression, timezone or dst rule is refused. `field`: the place of the error; `reason`: what was found, and
    what to write; `code`: the code for a Problem.
    """

    def __init__(self, field: str, reason: str, code: str = "JQ301") -> None:
        super().__init__(field, reason, code)
        self.field, self.reason, self.code = field, reason, code

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


# The check for a match starts in 2100, because today's tzdata has dated exceptions (Morocco's Ramadan) until 2087.
LASTING = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The matching wall times, as bit masks; `days` has one mask for each month shape.

    `wild`: whether the minute or hour field starts with `*`, which in Vixie's cron means a job that follows elapsed
    time.
    """

    minutes: int
    hours: int
    months: int
    days: tuple[int, ...]
    wild: bool

    def later(self, wall: datetime) -> datetime | None:
        """Return the first matching minute that begins after `wall`, or None if none follows in 40 years."""
        year, month, day, hour = wall.year, wall.month, wall.day, wall.hour
        days = self._days(year, month)
        if days >> day & 1:
            if self.hours >> hour & 1 and (minute := _above(self.minutes, wall.minute)) >= 0:
                return datetime(year, month, day, hour, minute)
            if (hour := _above(self.hours, hour)) >= 0:
                return datetime(year, month, day, hour, _above(self.minutes, -1))
        days &= -2 << day
        months = year * 12 + month
        # The longest wait for a date is 40 years, for 29 February on a given weekday across 2100.
        limit = min(months + 40 * 12, 10_000 * 12)
        while not days and months < limit:
            year, month = months // 12, months % 12 + 1
            days = self._days(year, month)
            months += 1
        if not days:
            return None
        return datetime(year, month, _above(days, -1), _above(self.hours, -1), _above(self.minutes, -1))

    def _days(self, year: int, month: int) -> int:
        return self.days[_shape(year, month)] if self.months >> month & 1 else 0


def _above(mask: int, position: int) -> int:
    """Return the lowest set bit above `position`, or -1."""
    rest = mask >> position + 1
    return position + (rest & -rest).bit_length() if rest else -1


# A month has one of 28 shapes: the weekday of its first day (0 is Sunday), and its length.
_SHAPES = [(first, length) for first in range(7) for length in range(28, 32)]
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_WEEKS = sum(1 << 7 * week for week in range(6))
_LAST_WEEK = 6
_LAST_DAY = ("L", "l")


@lru_cache(maxsize=1024)
def _shape(year: int, month: int) -> int:
    leap_day = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _SHAPES.index((date(year, month, 1).isoweekday() % 7, _LENGTHS[month] + leap_day))


def _on_weekdays(weekdays: int, week: int, first: int, length: int) -> int:
    """Return the days of a month that fall on `weekdays`, as a bit mask: in the nth week of seven days, in the last
    such week (6), or in all weeks (0).
    """
    days = weekdays * _WEEKS >> first << 1
    if week == 0:
        return days
    return days & 0b1111111 << (length - 6 if week == _LAST_WEEK else 7 * week - 6)


# ── grammar ──


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five fields: `*` means `low` to `high`, `H` means a number from `low` to `drawn`, and written numbers
    may go up to `top`.
    """

    index: int
    name: str
    low: int
    high: int
    drawn: int
    top: int
    names: tuple[str, ...] = ()


_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# As in Jenkins, `H` draws only days that each month has, and counts Sunday only once.
_MINUTE = Field(0, "minute", 0, 59, 59, 59)
_HOUR = Field(1, "hour", 0, 23, 23, 23)
_DAY = Field(2, "day of month", 1, 31, 28, 31)
_MONTH = Field(3, "month", 1, 12, 12, 12, _MONTHS)
_WEEKDAY = Field(4, "day of week", 0, 6, 6, 7, _WEEKDAYS)
SECONDS = Field(0, "seconds", 0, 59, 59, 59)
_FIELDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)

MAX_CHARACTERS = 1000
_LIKE_A_FIELD = r"[\d*?#/,\-()LWHlwh]+|[a-zA-Z]{3}([-,][a-zA-Z]{3})*"
_ITEM = r"(?i)(?:\*|([a-z]+|\d{1,9})(?:-([a-z]+|\d{1,9}))?)(?:/(\d{1,9}))?"
_HASHED = re.compile(r"h(?:\(([^()/]+-[^()/]+)\))?(/\d{1,9})?", re.IGNORECASE)
_NTH = re.compile(r"([a-z]{3}|\d)(?:#([1-5])|l)", re.IGNORECASE)
_OURS = re.compile(rf"{_HASHED.pattern}|l|{_NTH.pattern}", re.IGNORECASE)
_INTERVAL = r"(?i)(\d+[dhms])+"
# Other crons' spellings, and valid spellings in the wrong field.
_REFUSED = (
    (r"\?", "write `*`"),
    (r"lw|wl", "write `L`, or `25-31` and let the command check for the last working day"),
    (r"\d*w\d*", "write the day itself, and let the command check for the nearest working day"),
    (r"l-\d+", "write `L` for the last day, or `25-31` and let the command count from the end"),
    (r"\d+-l.*", "write the number of the last day, 31 for any month"),
    (r"\d+l", "write this in the day of week field, or `L` in the day of month field"),
    (r"l\d+", "write the weekday first, like `5L` for the last Friday, in the day of week field"),
    (r"l", "write `L` in the day of month field, or a weekday before it, like `6L`, in the day of week field"),
    (r".*#.*", "write a weekday, `#` and 1 to 5, like `1#2` for the second Monday, in the day of week field"),
    (r".*~.*|r(\(.*)?", "write `H` or `H(a-b)`, which picks a number for the job once and keeps it"),
    (r"h.*", "write `H`, or `H(1-5)` with a range of this field; `/step` may follow"),
)


@lru_cache(maxsize=4096)
def fields(expression: str) -> tuple[tuple[Field, str], ...]:
    """Split an expression into its five fields, as written; `@reboot` has none. Raises ScheduleError."""
    texts = expression.split()
    if len(expression) > MAX_CHARACTERS:
        raise ScheduleError("expression", f"found {len(expression)} characters: write at most {MAX_CHARACTERS}")
    if not (expression.isascii() and "".join(texts).isprintable()):
        odd = next(c for c in expression if not (c.isascii() and (c.isprintable() or c.isspace())))
        shown = f"{odd} " if odd.isprintable() else ""
        raise ScheduleError("expression", f"found the character {shown}(U+{ord(odd):04X}): write {_in_ascii(texts)}")
    if [text.lower() for text in texts] == ["@reboot"]:
        return ()
    if texts and texts[0].startswith("@"):
        texts = _alias(" ".join(texts)).split()
    if len(texts) != len(_FIELDS):
        raise ScheduleError("expression", _miscounted(expression.strip(), texts))
    for field, text in zip(_FIELDS, texts, strict=True):
        _check_commas(field, text)
    return tuple(zip(_FIELDS, texts, strict=True))


def _in_ascii(texts: list[str]) -> str:
    """Return advice on fields with non-ASCII characters: the spelling with plain spaces if it is valid, otherwise a
    hint.
    """
    plain = " ".join(texts)
    if not (plain.isascii() and plain.isprintable()):
        return "plain ASCII"
    try:
        pattern_of(" ".join(text for _, text in fields(plain)))
    except ScheduleError:
        return "plain ASCII"
    return f"`{plain}`"


def _check_commas(field: Field, text: str) -> None:
    if "" in text.split(","):
        raise ScheduleError(field.name, f"found `{text}`: remove the stray comma")


def _miscounted(expression: str, texts: list[str]) -> str:
    """Describe the error in an expression with more or fewer than five fields."""
    if "{{" in expression:
        return f"found `{expression}`, a template that was not rendered: write five fields such as `0 2 * * *`"
    if ";" in expression or "\n" in expression:
        return f"found `{' '.join(texts)}`: write several expressions as a list"
    if len(texts) > len(_FIELDS) and any(text[0] == "," or text[-1] == "," for text in texts):
        return f"found `{expression}`: write commas without spaces"
    if texts and "=" in texts[0]:
        return f"found `{texts[0]}`: write a zone under `timezone`, a variable under `environment`"
    if len(texts) > len(_FIELDS) and not re.fullmatch(_LIKE_A_FIELD, texts[5]):
        behind = " ".join(texts[5:])
        if texts[6:] == [] and "/" not in behind:
            return f"found `{behind}` after the five fields: write a user under `user`, a command under `command`"
        keys = f'schedule: "{" ".join(texts[:5])}", {behind_the_fields(behind)}'
        return f"found `{behind}` after the five fields: write a key for each, as in {{{keys}}}"
    if len(texts) == len(_FIELDS) + 1 and re.fullmatch("(19|20)[0-9]{2}", texts[5]):
        return f"found the year {texts[5]}: write five fields; for one date, the key `at`{_as_date(texts)}"
    if meant := meant_time(" ".join(texts).lower()):
        return f"found `{expression}`: write {meant}"
    if len(texts) == len(_FIELDS) + 1:
        five = f'`schedule: "{" ".join(texts[1:])}"` and `seconds: "{texts[0]}"`'
        return f"found 6 fields: write five; if the first is for seconds, write {five}"
    return f"found {counted(len(texts), 'field')}: write five, minute hour day month weekday, such as `0 2 * * *`"


def _as_date(texts: list[str]) -> str:
    """Return the value for the key `at` if the fields mean one date with a year; otherwise return ""."""
    try:
        minute, hour, day, month, year = (int(texts[place]) for place in (0, 1, 2, 3, 5))
        return f": `at: {datetime(year, month, day, hour, minute).isoformat(timespec='minutes')}`"
    except ValueError:
        return ""


def _alias(name: str) -> str:
    if name.lower().startswith("@every"):
        interval = name[7:].lower() if re.fullmatch(_INTERVAL, name[7:]) else "1m"
        raise ScheduleError("expression", f"found `{name}`: write it as a key, like `every: {interval}`")
    if name.lower() not in ALIASES:
        raise ScheduleError("expression", f"found `{name}`: write one of {' '.join(ALIASES)} @reboot")
    return ALIASES[name.lower()]


@lru_cache(maxsize=4096)
def pattern_of(text: str) -> Pattern:
    """Return the pattern of five fields whose `H` are already replaced; equal texts share a pattern.

    Raises ScheduleError.
    """
    minute, hour, day, month, weekday = text.split()
    wild = minute.startswith("*") or hour.startswith("*")
    if not exists(day, month, weekday):
        advice = "write a day that these months have, or `L` for the last day"
        found = f"found `{day} {month} {weekday}` (day, month, weekday), which matches no date in 40 years"
        raise ScheduleError("day of month", f"{found}: {advice}", "JQ302")
    return Pattern(_mask(_MINUTE, minute), _mask(_HOUR, hour), _mask(_MONTH, month), _day_masks(day, weekday), wild)


@lru_cache(maxsize=4096)
def exists(day: str, month: str, weekday: str) -> bool:
    """Return whether a date within 40 years matches the day fields, whose `H` are already replaced."""
    return Pattern(1, 1, _mask(_MONTH, month), _day_masks(day, weekday), wild=False).later(LASTING) is not None


@lru_cache(maxsize=1024)
def _day_masks(day: str, weekday: str) -> tuple[int, ...]:
    """Expand both day fields; return the matching days (bits 1 to 31) for each month shape."""
    items = day.split(",")
    numbers = [item for item in items if item not in _LAST_DAY]
    dates = _mask(_DAY, ",".join(numbers)) if numbers else 0
    last = len(numbers) < len(items)
    weeks = _weeks(weekday)
    # Vixie's star bit: if a day field starts with `*`, both fields must match; otherwise one match is enough.
    both = day.startswith("*") or weekday.startswith("*")
    masks = []
    for first, length in _SHAPES:
        by_date = dates | last << length
        by_week = 0
        for week, weekdays in weeks:
            by_week |= _on_weekdays(weekdays, week, first, length)
        masks.append((by_date & by_week if both else by_date | by_week) & (2 << length) - 2)
    return tuple(masks)


def _weeks(text: str) -> list[tuple[int, int]]:
    """Expand the day-of-week field: return pairs of week (0 for every week, 1 to 5, 6 for the last) and weekdays."""
    weeks = []
    plain = []
    for item in text.split(","):
        if nth := _NTH.fullmatch(item):
            weeks.append((int(nth[2] or _LAST_WEEK), 1 << _value(_WEEKDAY, nth[1], item) % 7))
        else:
            plain.append(item)
    return [*weeks, (0, _mask(_WEEKDAY, ",".join(plain)))] if plain else weeks


@lru_cache(maxsize=4096)
def _mask(field: Field, text: str) -> int:
    """Use croniter to expand one field of plain items. First rewrite the forms that croniter reads differently."""
    texts = ["*"] * len(_FIELDS)
    items = (_bounds(field, item) for item in text.split(","))
    # Croniter reads `5-5` as the whole field.
    texts[field.index] = ",".join(f"{low}-{high}/{step}" if low < high else str(low) for low, high, step in items)
    values = expanded(texts, field.index)
    whole = (2 << field.high) - (1 << field.low)
    return whole if values == ["*"] else sum(1 << value for value in values if isinstance(value, int))


def check_field(index: int, text: str) -> None:
    """Raise ScheduleError unless a crontab field is valid at this index. A crontab can't have `L`, `#` and `H`."""
    _check_commas(_FIELDS[index], text)
    if odd := next((item for item in text.split(",") if _OURS.fullmatch(item)), ""):
        raise ScheduleError(
            _FIELDS[index].name, f"found `{odd}`, which cron does not support: write this job in a job file"
        )
    _mask(_FIELDS[index], with_draws(_FIELDS[index], field_drawn_once(index, text), ""))


def seconds_of(text: str, job: str) -> tuple[int, ...]:
    """Expand a seconds field, which has the minute field's grammar. Raises ScheduleError."""
    texts = text.split()
    if len(texts) != 1 or not text.isascii() or len(text) > MAX_CHARACTERS:
        raise ScheduleError(SECONDS.name, f"found {text!a}: write one field, like `*/10` or `0,30`")
    _check_commas(SECONDS, texts[0])
    mask = _mask(SECONDS, with_draws(SECONDS, texts[0], job))
    return tuple(second for second in range(60) if mask >> second & 1)


def drawn(job: str, purpose: str) -> int:
    """Return the number below 2^64 that a job draws for a purpose; a job always draws the same number."""
    return int.from_bytes(sha256(f"{job}\0{purpose}".encode()).digest()[:8], "big")


def with_draws(field: Field, text: str, job: str) -> str:
    """Replace each `H` in a field by the number that this job draws. This number must be the same in all versions."""
    if "h" not in text.lower():
        return text
    number = drawn(job, field.name)
    return ",".join(_drawn(field, item, number) if _HASHED.fullmatch(item) else item for item in text.split(","))


def _drawn(field: Field, item: str, number: int) -> str:
    low, high, step = _bounds(field, item)
    width = high - low + 1
    if "/" not in item:
        return str(low + number % width)
    return f"{low + number % min(step, width)}-{high}/{step}"


def _bounds(field: Field, item: str) -> tuple[int, int, int]:
    """Return the first value, the last value and the step of one plain item or of an `H` range."""
    text = item
    if hashed := _HASHED.fullmatch(item):
        text = (hashed[1] or f"{field.low}-{field.drawn}") + (hashed[2] or "")
    parts = re.fullmatch(_ITEM, text)
    if parts is None:
        raise _refused(field, item)
    first, last, step = parts[1], parts[2], int(parts[3] or 1)
    if step == 0:
        raise ScheduleError(field.name, f"found `{item}`: write a step of 1 or more")
    if first is None:
        return field.low, field.high, step
    low = _value(field, first, item)
    high = _value(field, last or first, item)
    if last is None and parts[3]:
        raise ScheduleError(field.name, f"found `{item}`: write `{first}-{field.high}/{step}`, or `{first}`")
    if low > high and hashed:
        raise _refused(field, item)
    if low > high:
        raise ScheduleError(field.name, f"found `{item}`: write `{_unrolled(field, low, high, step, first)}`")
    return low, high, step


def _value(field: Field, text: str, item: str) -> int:
    if text.isdigit() and field.low <= int(text) <= field.top:
        return int(text)
    if text.lower() in field.names:
        return field.names.index(text.lower())
    raise _refused(field, item)


def _unrolled(field: Field, low: int, high: int, step: int, spelling: str) -> str:
    """Write a range that wraps around the end of its field as a list, with names if the range has names."""
    width = field.high - field.low + 1
    values = ((value - field.low) % width + field.low for value in range(low, high + width + 1, step))
    return ",".join(str(value) if spelling.isdigit() else field.names[value] for value in values)


def _refused(field: Field, item: str) -> ScheduleError:
    for spelling, advice in _REFUSED:
        if re.fullmatch(spelling, item, re.IGNORECASE):
            return ScheduleError(field.name, f"found `{item}`: {advice}")
    clock = re.fullmatch("(1[0-2]|[1-9])(am|pm)", item, re.IGNORECASE)
    if clock and field is _HOUR:
        return ScheduleError(
            field.name, f"found `{item}`: write `{int(clock[1]) % 12 + 12 * (clock[2].lower() == 'pm')}`"
        )
    if (name := item[:3].lower()) in field.names and item.isalpha():
        return ScheduleError(field.name, f"found `{item}`: write `{name}`")
    names = f" or {field.names[field.low]} to {field.names[-1]}" if field.names else ""
    numbers = f"{field.low} to {field.top}{names}"
    advice = f"write {numbers}, a range `a-b`, or `*`; `/step` may follow a range or `*`"
    return ScheduleError(field.name, f"found `{item}`: {advice}")


class Overstep(NamedTuple):
    """A field's item whose step is wider than its range, which is accepted but probably a mistake."""

    field: str
    item: str

    @property
    def text(self) -> str:
        """The warning's text, without the field's name."""
        return f"the step of `{self.item}` is wider than its range, so only one value matches"

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def oversteps(texts: Iterable[tuple[Field, str]]) -> Iterator[Overstep]:
    """Yield the items whose steps are wider than their ranges."""
    for field, item in ((field, item) for field, text in texts for item in text.split(",") if "/" in item):
        low, high, step = _bounds(field, item)
        if step > high - low + 1:
            yield Overstep(field.name, item)
