"""The definition of a job as text: settings that differ from their defaults, in the format of job files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jobqueued.base.text import counted, duration, size
from jobqueued.child.hooks.telemetry import SAMPLE
from jobqueued.control.protocol.varlink import Message
from jobqueued.control.views.definitions import definition
from jobqueued.ctl.base.terminal import local
from jobqueued.exchange.yaml_values import flow
from jobqueued.model.job import Job
from jobqueued.model.notify import CHANNELS

_SHOWN_APART = frozenset({"id", "description", "enabled"})
_DEFAULTS = {**json.loads(json.dumps(definition(Job(id="", command="")))), "timezone": None}


def settings(definition: Message) -> list[tuple[str, str | None]]:
    """Return the settings that differ from their defaults, with their values in the format of job files."""
    left_out = _SHOWN_APART | (set() if definition.get("every") else {"anchor"})
    left_out |= set() if definition.get("schedule") or definition.get("at") else {"timezone"}
    left_out |= _OF_SUBMISSIONS if definition.get("submission") else set()
    found = {key: value for key, value in definition.items() if key not in left_out and value != _DEFAULTS.get(key)}
    return [(key.replace("_", " "), _setting(key, value)) for key, value in found.items()]


def _setting(key: str, value: Any) -> str | None:
    match value:
        case _ if key in _AS:
            return _AS[key](value)
        case float():
            return duration(value)
        case list():
            return ", ".join(map(_item, value))
        case str():
            return value
    return json.dumps(value)


def _item(item: Any) -> str:
    """Format an item of a list as in a job file: ``database``, ``{name: tape, mode: shared}``."""
    match item:
        case {"name": name, "mode": "exclusive", **others} if not others:
            return str(name)
        case dict():
            return f"{{{', '.join(f'{key}: {value}' for key, value in item.items())}}}"
    return str(item)


def command_line(command: str | Sequence[str]) -> str:
    """Format a command as in a job file: ``sleep 4``, or ``[sh, -c, 'sleep 4']`` for a list."""
    return command if isinstance(command, str) else flow(list(command))


def amounts(amounts: Mapping[str, Any]) -> str:
    """Format limits or resources in readable units: ``memory 512 MiB, cpu 0.5, cpu_time 1 h``."""
    return ", ".join(f"{name} {_amount(name, value)}" for name, value in amounts.items() if value is not None)


def _amount(name: str, value: Any) -> str:
    if name == "cpu_time":
        return duration(value)
    return f"{value:g}" if name in _COUNTED or not isinstance(value, int) or value < 1024 else size(value)


_COUNTED = ("cpu", "tasks", "open_files", "processes", "sigpending")


def _escalation(it: Mapping[str, Any]) -> str:
    return f"{counted(it['points'], 'point')} every {duration(it['every'])}"


def _hooks(hooks: Sequence[Mapping[str, Any]]) -> str:
    """Describe hooks: ``push-metrics at start, sample (every 1 min), end``."""
    return "; ".join(f"{command_line(hook['command'])} at {', '.join(_moments(hook))}" for hook in hooks)


def _moments(hook: Mapping[str, Any]) -> list[str]:
    every = f" (every {duration(hook['every'])})"
    return [moment + every if moment == SAMPLE else moment for moment in hook["at"]]


def _late(it: bool | Mapping[str, float]) -> str:
    return "yes" if it is True else "no" if not it else ", ".join(_bounds(it))


def _bounds(it: Mapping[str, float]) -> Iterator[str]:
    if "after" in it:
        yield f"after {duration(it['after'])}"
    if "level" in it:
        yield f"level {it['level']:g}"


def _notify(wish: Mapping[str, Any]) -> str:
    """Describe receivers: ``email ops@example.org; on failure, recovery; again every 6 h``."""
    told = [f"{channel} {_address(each)}" for channel in CHANNELS for each in wish[channel]]
    again = [f"again every {duration(wish['remind'])}"] if wish["remind"] else []
    sender = [f"from {wish['sender']}"] if wish["sender"] else []
    return "; ".join((", ".join(told) or "nobody", f"on {', '.join(wish['on'])}", *again, *sender))


def _environment(variables: Mapping[str, str]) -> str:
    """Format variables: ``{A: "1", B: two words}``, or only their number if there are many."""
    return flow(variables) if len(variables) <= _MOST_VARIABLES else f"{len(variables)} variables; to see them: --json"


def _ping(ping: Mapping[str, Any]) -> str:
    """Format `ping`: ``https://hc-ping.com/UUID``, or ``{success: https://example.org/ok, output: false}``."""
    found = {key: value for key, value in ping.items() if value is not None and (key, value) != ("output", True)}
    return flow(found["url"] if found.keys() == {"url"} else found)


def _submission(it: tuple[Sequence[int] | None, Sequence[Sequence[str]], str]) -> str | None:
    """Describe a submission: ``indices 1 to 9 in steps of 3; after the success of alice/17; key nightly``."""
    array, after, key = it
    told = [f"indices {array[0]} to {array[1]}{_step(array[2])}"] if array else []
    told += [f"after the {'success' if result == 'success' else 'end'} of {name}" for name, result in after]
    return "; ".join([*told, *([f"key {key}"] if key else [])]) or None


def _step(step: int) -> str:
    return "" if step == 1 else f" in steps of {step}"


def _address(each: str | Mapping[str, Any]) -> str:
    return each if isinstance(each, str) else str(each["url"])


_MOST_VARIABLES = 10
_OF_SUBMISSIONS = frozenset({"max_waiting", "catch_up_window"})
"""Keys to omit, because every submission has them."""
_AS: dict[str, Callable[[Any], str | None]] = {
    "command": command_line,
    "failover": command_line,
    "environment": _environment,
    "ping": _ping,
    "submission": _submission,
    "resource_limits": amounts,
    "resources": amounts,
    "escalation": _escalation,
    "telemetry_hooks": _hooks,
    "late": _late,
    "notify": _notify,
    "umask": "{:04o}".format,
    "output_limit": size,
    "at": local,
    "anchor": local,
}
