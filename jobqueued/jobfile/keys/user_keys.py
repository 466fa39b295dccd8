"""The key `users` in jobqueued.yaml: which users may have jobs, and their limits."""

from __future__ import annotations

import re
from dataclasses import replace

from jobqueued.child.notifier.addresses import meant, spelled
from jobqueued.jobfile.keys.keys import RESOURCE_LIMITS
from jobqueued.jobfile.tree.yamltext import Node, Scalar
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import Key, choice, duration, integer, optional, scalar, size, table, text
from jobqueued.jobfile.types.types import one_or_more, section

_ONE = text(
    "the name of a user such as alice, or of a group with an @ before it",
    r"@?[^\s:,/@\x00-\x1f\x7f][^\s:,/\x00-\x1f\x7f]{0,63}",
)
_MOST = 25
"""Maximum number of users and groups, because each look-up includes them all.

For more users, a site can make a group.
"""


def _few(node: Node) -> tuple[str, ...]:
    names: tuple[str, ...] = one_or_more(_ONE, least=0).read(node)
    if len(names) > _MOST:
        found = f"{len(names)} names"
        raise NotAccepted(
            Refusal.of(node, f"at most {_MOST} names; for more users, write a group as @GROUP", found, code="JQ103")
        )
    return names


_WHO = replace(one_or_more(_ONE, least=0), read=_few)
_GROUPS = one_or_more(
    text("the name of a group such as video", r"[^\s:,/@\x00-\x1f\x7f][^\s:,/\x00-\x1f\x7f]{0,63}"), least=0
)


def _reach(node: Scalar) -> str:
    """Return an address and a port in the notifier's spelling. Raises ValueError."""
    found = re.fullmatch(r"(?a)(?:([\d.]+)|\[([^\]]+)\]):([1-9]\d{0,4})", node.text)
    if found is None or int(found[3]) > 65535:
        raise ValueError
    return spelled(meant(found[1] or found[2]), int(found[3]))


_REACH = scalar("address", "an address with a port such as 127.0.0.1:8080 or '[::1]:8080'", _reach)
PERMITS = (
    "exclusive",
    "priority",
    "escalation",
    "nice",
    "oom_score_adj",
    "cpu_scheduling",
    "ionice",
    "notify",
    "drain",
)
"""Keys that let a job affect other jobs, the host or people. Users may set these keys only if the site permits it."""
_LIFTED = ("memory", "tasks")
"""Keys that also accept a word for "no limit", because they have a default."""
_CAPS = {
    "cpu": "CPU cores that all of a user's runs can use together.",
    "memory": "Memory that all of a user's runs can use together, including page cache. Beyond this limit, the kernel "
    "kills the largest process, or the whole run of this process if the run has its own limit.",
    "memory_high": "Memory use of all of a user's runs together above which the kernel slows these runs down.",
    "swap": "Maximum swap space for all of a user's runs together.",
    "tasks": "Processes and threads that all of a user's runs can have together.",
}
CAPS = {
    name: replace(
        RESOURCE_LIMITS[name],
        help=about,
        type=optional(RESOURCE_LIMITS[name].type, "unlimited") if name in _LIFTED else RESOURCE_LIMITS[name].type,
    )
    for name, about in _CAPS.items()
}
USERS = table(
    Key("allow", optional(_WHO, "all"), "all",
        "Users who can have their own jobs, including jobs in their crontabs.", "[alice, '@developers']"),
    Key("deny", _WHO, "[]", "Users who can't have their own jobs, even if `allow` names them.", "['@guests']"),
    Key("jobs", integer(0, 10_000), "100", "Maximum number of a user's jobs in job files.", "20"),
    Key("interval", duration("1s", "1d"), "1m", "Shortest time between two scheduled starts of a job.", "10m"),
    Key("live", integer(1, 100_000), "32",
        "A user's runs that can be live at the same time, including runs from the user's crontab. An ended "
        "run counts until the processes that it left (`leave_children`) end. Runs above this limit wait.",
        "4"),
    Key("waiting", integer(1, 1_000_000), "10000", "A user's runs that can wait at the same time.", "500"),
    Key("logs", size("1M", "999T"), "2G",
        "Space for the records and output of a user's runs, and 8 KiB for each run. Beyond this limit, the oldest are "
        "deleted. The output limit of each run is this space divided by `live`.", "200M"),
    Key("calls", integer(1, 1_000_000), "20000",
        "Job file changes and submissions that a user can make in a minute. Each counts as 1. A new file text counts "
        "as 1 more for each 128 bytes.", "60"),
    Key("permit", one_or_more(choice(*PERMITS), least=0), "[]",
        "Keys of job files that are not restricted for users. docs/users.md shows the restrictions.", "[nice, notify]"),
    Key("groups", _GROUPS, "[]",
        "Groups that users' jobs can have, in addition to the user's groups.", "[video]"),
    Key("reach", one_or_more(_REACH, least=0), "[]",
        "This host's loopback, link-local and other addresses that users' notices can be sent to. All other addresses "
        "of these kinds are refused.", "['127.0.0.1:2586']"),
    Key("caps", section(CAPS), "{}",
        "Limits on all of a user's runs together. Without `memory`, the limit is four fifths of the host's memory. "
        "Without `tasks`, the limit is a third of the host's limit. `unlimited` removes the limit.",
        "{cpu: 2, memory: 8G, tasks: 500}"),
)  # fmt: skip
