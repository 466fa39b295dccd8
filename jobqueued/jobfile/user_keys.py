"""The key `users` of jobqueued.yaml: who may have jobs, and how much of what."""

from __future__ import annotations

import re
from dataclasses import replace

from jobqueued.child.notifier.addresses import meant, spelled
from jobqueued.jobfile.keys import RESOURCE_LIMITS
from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.scalars import Key, choice, duration, integer, optional, scalar, size, table, text
from jobqueued.jobfile.types import one_or_more, section
from jobqueued.jobfile.yamltext import Node, Scalar

_ONE = text(
    "the name of a user such as alice, or of a group with an @ before it",
    r"@?[^\s:,/@\x00-\x1f\x7f][^\s:,/\x00-\x1f\x7f]{0,63}",
)
_MOST = 25
"""Users and groups, which are sent to whoever looks them up; who means more makes a group of them."""


def _few(node: Node) -> tuple[str, ...]:
    names: tuple[str, ...] = one_or_more(_ONE, least=0).read(node)
    if len(names) > _MOST:
        found = f"{len(names)} names"
        raise NotAccepted(
            Refusal.of(node, f"at most {_MOST}; of more users make a group, and write @GROUP", found, code="JQ103")
        )
    return names


_WHO = replace(one_or_more(_ONE, least=0), read=_few)
_GROUPS = one_or_more(
    text("the name of a group such as video", r"[^\s:,/@\x00-\x1f\x7f][^\s:,/\x00-\x1f\x7f]{0,63}"), least=0
)


def _reach(node: Scalar) -> str:
    """An address and a port, as the notifier spells them."""
    found = re.fullmatch(r"(?a)(?:([\d.]+)|\[([^\]]+)\]):([1-9]\d{0,4})", node.text)
    if found is None or int(found[3]) > 65535:
        raise ValueError
    return spelled(meant(found[1] or found[2]), int(found[3]))


_REACH = scalar("address", "an address with a port such as 127.0.0.1:8080 or '[::1]:8080'", _reach)
PERMITS = (
    "exclusive", "priority", "escalation", "nice", "oom_score_adj", "cpu_scheduling", "ionice", "notify", "drain",
)  # fmt: skip
"""Keys with which one job may burden or reach others, so that users have them only where the site permits."""
_LIFTED = ("memory", "tasks")
"""Those that have a default, so that there is a word for none."""
CAPS = {
    name: replace(key, type=optional(key.type, "unlimited")) if name in _LIFTED else key
    for name, key in RESOURCE_LIMITS.items()
    if name in ("cpu", "memory", "memory_high", "swap", "tasks")
}
USERS = table(
    Key("allow", optional(_WHO, "all"), "all",
        "Users that may have jobs of their own, those of a crontab included.", "[alice, '@developers']"),
    Key("deny", _WHO, "[]", "Users that may not, even if `allow` has them.", "['@guests']"),
    Key("jobs", integer(0, 10_000), "100", "Jobs that a user may have in files.", "20"),
    Key("interval", duration("1s", "1d"), "1m", "Shortest time between two starts of a job by the clock.", "10m"),
    Key("live", integer(1, 100_000), "32",
        "Runs of a user that may be live at a time, those of the user's crontab included; others wait.", "4"),
    Key("waiting", integer(1, 1_000_000), "10000", "Runs of a user that may wait.", "500"),
    Key("logs", size("1M", "999T"), "2G", "Space for records and output of a user: beyond it the oldest go.  "
        "Divided by `live` it is the limit of the output of each run.", "200M"),
    Key("calls", integer(1, 1_000_000), "20000",
        "Jobs that a user may add, change and submit in a minute; a file is one, and one for each 128 bytes.",
        "60"),
    Key("permit", one_or_more(choice(*PERMITS), least=0), "[]", "Keys of job files that only root has otherwise.",
        "[nice, notify]"),
    Key("groups", _GROUPS, "[]", "Groups that jobs of users may have, beside those that their user is in.", "[video]"),
    Key("reach", one_or_more(_REACH, least=0), "[]",
        "Addresses of this host or its link to which notices of users may go nonetheless.", "['127.0.0.1:2586']"),
    Key("caps", section(CAPS), "{}", "Limits of all runs of a user together.  Without `memory` they "
        "have four fifths of the host's, without `tasks` a third of what the host allows; `unlimited` lifts these two.",
        "{cpu: 2, memory: 8G, tasks: 500}"),
)  # fmt: skip
