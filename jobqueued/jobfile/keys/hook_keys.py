"""The keys of telemetry hooks: which programs get a run's record, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jobqueued.child.hooks.telemetry import MOMENTS
from jobqueued.jobfile.tree.yamltext import Mapping, Node
from jobqueued.jobfile.types.process_types import COMMAND
from jobqueued.jobfile.types.queue_types import PATH
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import Key, choice, duration, table
from jobqueued.jobfile.types.types import either, made, one_or_more, section
from jobqueued.model.telemetry import TelemetryHook

MOST = 8
"""Maximum number of hooks in a job, because together the hooks may delay the end of its runs."""

_HOOK = section(table(
    Key("command", COMMAND, "",
        "Program that gets the record on its standard input. A list is executed directly, without a shell. A string "
        "is run by `shell` -c.", "[/usr/local/bin/push-metrics, --fast]"),
    Key("at", one_or_more(choice(*MOMENTS)), "[start, sample, end]",
        "Moments of each attempt at which the program is called. `start`: the command has started. `sample`: at "
        "each interval `every` while the command runs. `end`: the attempt has ended.", "[start, end]"),
    Key("every", duration("1s", "1d"), "1m", "Time between two samples.", "10s"),
    Key("timeout", duration("1s", "5m"), "10s", "Time after which the program is killed.", "30s"),
))  # fmt: skip


def _hook(node: Node) -> TelemetryHook:
    values = _HOOK.read(node)
    if "command" not in values:
        raise NotAccepted(Refusal.of(node, "its `command` as well", code="JQ205"))
    hook = TelemetryHook(**values)
    if "every" in values and "sample" not in hook.at and isinstance(node, Mapping):
        place = node.entries["every"].key
        found = "the time between samples, but no samples"
        raise NotAccepted(Refusal.of(place, "no `every`, or `sample` in `at`", found, code="JQ205").below(".every"))
    return hook


_ONE = either(made(PATH, TelemetryHook), replace(_HOOK, read=_hook))
_SEVERAL = one_or_more(_ONE, least=0)


def _few(node: Node) -> tuple[Any, ...]:
    hooks: tuple[Any, ...] = _SEVERAL.read(node)
    if len(hooks) > MOST:
        raise NotAccepted(Refusal.of(node, f"at most {MOST} of them", f"{len(hooks)} hooks", code="JQ103"))
    return hooks


HOOKS = replace(_SEVERAL, read=_few)
