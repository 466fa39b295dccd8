"""The key `fleet` in jobqueued.yaml: the fleet's etcd, and the settings that all the fleet's hosts share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from jobqueued.jobfile.tree.words import A_NAME, NAME
from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar, YamlEntry
from jobqueued.jobfile.types.queue_types import AMOUNTS, LABELS
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import Key, ValueType, duration, scalar, table, text, url
from jobqueued.jobfile.types.spelling import Instead
from jobqueued.jobfile.types.time_types import ZONE
from jobqueued.jobfile.types.types import mapping, one_or_more, section
from jobqueued.model.fleet import FleetSettings
from jobqueued.model.job import CPU, MEMORY

_MOST = 9
_PORT = 2379
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_LOOPBACK = rf"localhost|::1|127(?:\.{_BYTE}){{3}}"
_URL = url(
    "the URL of a member such as https://etcd-1.example.org:2379, or for a member on this host http://127.0.0.1:2379",
    "https",
    "http",
    bare=True,
)


def _member(node: Scalar) -> str:
    """Return an etcd member's URL in its normal form: lower case, with the port."""
    if "@" in node.text:  # may be a secret
        accepted = "a URL without a user; `certificate` identifies this host"
        raise NotAccepted(Refusal.of(node, accepted, "a user in the URL of a member"))
    text = node.text.rstrip("/")
    parts = urlsplit(_URL.read(node._replace(text=text)))
    host = parts.hostname or ""
    if parts.scheme == "http" and not re.fullmatch(_LOOPBACK, host):
        raise Instead(f"https{text[4:]}")
    if text != node.text:
        raise Instead(text)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or _PORT}"


_MEMBERS = one_or_more(scalar("URL", _URL.accepted, _member, _URL.schema))


def _members(node: Node) -> tuple[str, ...]:
    members: tuple[str, ...] = _MEMBERS.read(node)
    twin = next((member for member in members if members.count(member) > 1), "")
    if twin:
        raise NotAccepted(Refusal.of(node, "each member once", f"{twin} twice", code="JQ205"))
    if len(members) == 2:
        accepted = "one, three or five members, because two can do nothing as soon as one of them stops"
        raise NotAccepted(Refusal.of(node, accepted, "two members", code="JQ205"))
    if len(members) > _MOST:
        raise NotAccepted(Refusal.of(node, f"at most {_MOST}", f"{len(members)} members", code="JQ103"))
    return members


_PEM = text(
    "an absolute path such as /etc/jobqueued/host.pem, or the name of a credential of jobqueued-fleet.service",
    "/[^\0]+|[A-Za-z0-9][A-Za-z0-9._-]{0,254}",
    "path or name",
)
_MOST_UNITS = 1000


def _resources(entries: dict[str, YamlEntry]) -> dict[str, int]:
    amounts: dict[str, int] = AMOUNTS.read(Mapping(0, 0, entries))
    for name, units in amounts.items():
        if name in (CPU, MEMORY) or units > _MOST_UNITS:
            accepted = "a lock by its name" if name in (CPU, MEMORY) else f"at most {_MOST_UNITS}"
            raise NotAccepted(Refusal.of(entries[name].value, accepted, f"{name}: {units}", code="JQ205"))
    return amounts


_RESOURCES = mapping("a mapping of locks to their units such as {license: 5}", _resources, AMOUNTS.schema)
_FLEET = section(table(
    Key("etcd", replace(_MEMBERS, read=_members), "",
        "URLs of the etcd members. The default port is 2379.",
        "[https://a.example.org:2379, https://b.example.org:2379, https://c.example.org:2379]"),
    Key("name", text(A_NAME, NAME, "name"), "fleet",
        "Name of the fleet, the same on all its hosts. `H` and `spread` of fleet jobs depend on it.", "web"),
    Key("timezone", ZONE, "UTC",
        "Time zone of fleet jobs that have no `timezone`, the same on all hosts of the fleet.", "Europe/Berlin"),
    Key("lock_grace", duration("30s", "1d"), "60s",
        "Time for which an unreachable host keeps its fleet locks, the same on all hosts of the fleet.", "5m"),
    Key("resources", _RESOURCES, "{}",
        "Number of units for each fleet lock with several units, the same on all hosts of the fleet.", "{license: 5}"),
    Key("labels", LABELS, "",
        "Labels of this host. The key `hosts` of a job names the labels that the job needs.", "[gpu, site-a]"),
    Key("authority", _PEM, "",
        "File with the certificates of the authorities that signed the members' certificates. The default is the "
        "host's authorities.", "/etc/jobqueued/authority.pem"),
    Key("certificate", _PEM, "",
        "File with the certificate that identifies this host to the members.", "/etc/jobqueued/host.pem"),
    Key("key", _PEM, "",
        "File with the private key of `certificate`. Only the user jobqueue-fleet should be able to read this file. "
        "Instead of files, systemd can provide the credentials jobqueued-fleet.key, jobqueued-fleet.certificate and "
        "jobqueued-fleet.authority from /etc/credstore.", "/etc/jobqueued/host.key"),
))  # fmt: skip
_PAIR = ("certificate", "key")


def _fleet(node: Node) -> FleetSettings:
    values: dict[str, Any] = _FLEET.read(node)
    if "etcd" not in values:
        raise NotAccepted(Refusal.of(node, "its `etcd` as well", code="JQ205"))
    given = [name for name in _PAIR if name in values]
    if len(given) == 1:
        other = _PAIR[1 - _PAIR.index(given[0])]
        raise NotAccepted(Refusal.of(node, f"its `{other}` as well", f"`{given[0]}` alone", code="JQ205"))
    return FleetSettings(**values)


FLEET_SETTINGS: ValueType = replace(_FLEET, read=_fleet)
