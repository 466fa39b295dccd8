"""The keys of notices in job files and jobqueued.yaml: recipients, and settings for sending mail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from jobqueued.base.instants import DAY, HOUR, MINUTE
from jobqueued.child.notifier import template
from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar
from jobqueued.jobfile.types.process_types import ACCOUNT, WORD, by_name, unshown
from jobqueued.jobfile.types.queue_types import PATH
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import (
    FLAG,
    Key,
    choice,
    duration,
    number,
    optional,
    scalar,
    size,
    table,
    text,
    url,
)
from jobqueued.jobfile.types.spelling import nearest
from jobqueued.jobfile.types.types import either, made, mapping, one_or_more, section
from jobqueued.model.notify import (
    DEFAULT_POLICY,
    EVENTS,
    EVENTS_OF_SITE,
    NOBODY,
    USUALLY,
    Heartbeat,
    Late,
    Notify,
    NotifyRule,
    Ping,
    Policy,
    Webhook,
)

_HEADER = text("a string of one line, in ASCII", r"[ -~\t]*")
_SET_BY_US = ("connection", "content-length", "host", "transfer-encoding")
_HEADER_NAME = f"(?i:(?!(?:{'|'.join(_SET_BY_US)})$)[a-z0-9][a-z0-9-]*)"
_HEADER_RULE = f"the name of a header other than {', '.join(_SET_BY_US)}"
_HEADERS = mapping(
    "a mapping of names to strings such as {Priority: high}",
    lambda entries: tuple(by_name(unshown(_HEADER), _HEADER_NAME, _HEADER_RULE)(entries).items()),
    {"additionalProperties": _HEADER.schema},
)
_PART = r"[^\s@<>,;:\\\"()\[\]|/-][^\s@<>,;:\\\"()\[\]]*"
"""Part of a mail address.

It does not begin with a character that sendmail(8) could misread: - (an option), | (a program) or / (a file).
"""
ADDRESS = text(
    "a mail address such as ops@example.org", f"(?!.{{255}}){_PART}(@{_PART})?"
)  # RFC 5321 allows a path of 254
_URL = unshown(url("a URL such as https://example.org/hook", "https", "http"))
_HOOK = table(
    Key("url", _URL, "", "URL to which notices are posted.", "https://example.org/hook"),
    Key(
        "template",
        unshown(WORD),
        "",
        "Text to post instead of JSON, with names such as $title; see docs/notices.md.",
        '\'{"text": "$title"}\'',
    ),
    Key("headers", unshown(_HEADERS), "{}", "Additional headers of the request.", "{Authorization: Bearer tk_123}"),
    Key("secret_file", PATH, "", "File with the secret that signs each request.", "/etc/jobqueued/webhook-secret"),
    Key(
        "proxy",
        unshown(url("a URL such as http://proxy.example.org:3128", "http")),
        "",
        "HTTP proxy for the request.",
        "http://proxy.example.org:3128",
    ),
)


def _webhook(node: Node) -> Webhook:
    values = section(_HOOK).read(node)
    if "url" not in values:
        raise NotAccepted(Refusal.of(node, "its `url` as well", code="JQ205"))
    kind = next((value for name, value in values.get("headers", ()) if name.lower() == "content-type"), "")
    if values.get("template") and isinstance(node, Mapping):
        try:
            template.check(values["template"], kind)
        except template.TemplateFlaw as flaw:
            place = node.entries["template"].value
            near = nearest(flaw.found.removeprefix("$"), template.NAMES)
            meant = f"${near}" if near else ""
            raise NotAccepted(Refusal.of(place, flaw.accepted, flaw.found, meant).below(".template")) from None
    return Webhook(**values)


def _in_yaml(words: Iterable[str]) -> str:
    return f"[{', '.join(words)}]"


_WEBHOOK = replace(section(_HOOK), read=_webhook)
_NOTIFY = table(
    Key("on", one_or_more(choice(*EVENTS)), _in_yaml(NOBODY.on),
        "Events to send notices about. `failure` includes timeout, oom and lost. `skipped` includes missed. `output` "
        "includes failed_output.", "[failure, recovery, success]"),
    Key("email", one_or_more(ADDRESS), "", "Mail addresses that get the notices.", "ops@example.org"),
    Key("webhook", one_or_more(either(made(_URL, Webhook), _WEBHOOK)), "",
        "URLs to which the notices are posted as JSON. Only root and the job's user see the part of a URL after the "
        "host.", "https://example.org/hook"),
    Key("command", one_or_more(PATH), "", "Programs that get the notices as JSON on their standard input.",
        "/usr/local/bin/page-me"),
    Key("apprise", one_or_more(unshown(text("a URL of Apprise such as ntfy://topic", r"[a-z][a-z0-9+.-]*://\S+"))), "",
        "Apprise URLs that get the notices. These URLs need the package apprise.", "ntfy://my-topic"),
    Key("remind", optional(duration("0s", "365d")), "6h",
        "Time after which a continuing failure is reported again. With 0s, every failure is reported.", "1d"),
    Key("from", ADDRESS, "",
        "Sender of the mails. The default is `from` of `mail` in jobqueued.yaml.", "cron@example.org"),
)  # fmt: skip


_FIELDS = {"from": "sender"}
"""Key → field of a Notify, for keys whose field has another name."""


def _notify(values: dict[str, Any]) -> Notify:
    """Return a job's `notify` setting from its keys and values."""
    return Notify(**{_FIELDS.get(name, name): value for name, value in values.items() if name in _NOTIFY})


_CLOCK = "([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])"
_RATE = "([1-9][0-9]{0,3})/(1m|1h|1d)"


def _quiet(node: Scalar) -> tuple[int, int]:
    found = re.fullmatch(_CLOCK, node.text)
    if found is None or found[1] + found[2] == found[3] + found[4]:
        raise ValueError
    begin, begin_minute, end, end_minute = map(int, found.groups())
    return begin * 60 + begin_minute, end * 60 + end_minute


def _rate(node: Scalar) -> tuple[int, int]:
    found = re.fullmatch(_RATE, node.text)
    if found is None:
        raise ValueError
    return int(found[1]), {"1m": MINUTE, "1h": HOUR, "1d": DAY}[found[2]]


_OF_THE_SITE = table(
    replace(_NOTIFY["on"], default=_in_yaml(EVENTS_OF_SITE)),
    replace(
        _NOTIFY["webhook"],
        help="URLs to which the notices are posted as JSON. Lists and logs hide the part of a URL after the host.",
    ),
)
"""Keys of a job's `notify` whose default or help differs in a rule of jobqueued.yaml."""
_RULE = table(
    *{**_NOTIFY, **_OF_THE_SITE}.values(),
    Key("jobs", one_or_more(text("a job id, or a pattern of ids with * and ?", r"[A-Za-z0-9_.:/*?\[\]!-]+")), "",
        "Ids or patterns of the jobs that the rule applies to. A rule without `jobs` and `users` applies to all host "
        "jobs, but not to users' own jobs.", '["db-*", backup]'),
    Key("tags", one_or_more(text("a string without a comma", "(?s)[^,]+")), "",
        "Apply the rule only to jobs with one of these tags.", "[nightly]"),
    Key("users", one_or_more(ACCOUNT), "", "Apply the rule only to jobs that run as one of these users.", "[www-data]"),
    Key("quiet", scalar("part of the day", "a daily period such as 22:00-07:00", _quiet), "",
        "Daily period during which notices are held back, in the time zone `timezone`. At the end of this period, "
        "the notices are sent together.", "22:00-07:00"),
    Key("digest", duration("1m", "30d"), "", "Time for which notices are collected into one message.", "1h"),
    Key("rate", scalar("rate", "a rate such as 10/1h: messages in 1m, 1h or 1d", _rate), "30/1h",
        "Largest number of messages to each address in a period. Messages with run output, and messages about each "
        "user's jobs, are counted separately. Notices above this limit wait for the next message.", "10/1h"),
)  # fmt: skip
_MAIL = section(table(
    Key("from", ADDRESS, "", "Sender of mails. The default is jobqueue at the host's name.", "cron@example.org"),
    Key("smtp", unshown(url("a URL such as smtp://localhost:25 or smtps://user@mail.example.org:465",
        "smtp", "smtps", bare=True)), "",
        "Server that accepts the mails. Without this key, `sendmail` gets the mails.", "smtp://localhost:25"),
    Key("starttls", choice("required", "opportunistic", "never"), "opportunistic",
        "Encryption of connections to an smtp:// server. `opportunistic`: TLS if the server offers it. `required`: no "
        "mail without TLS and a trusted certificate.", "required"),
    Key("password_file", PATH, "", "File with the password of the user in `smtp`.", "/etc/jobqueued/smtp-password"),
    Key("sendmail", PATH, "/usr/sbin/sendmail", "Program that accepts mails like sendmail(8).", "/usr/lib/sendmail"),
    Key("attach_limit", size("0", "16M"), "1M",
        "Largest attachment with the output of a run. If the output is larger, only its end is attached.", "200K"),
))  # fmt: skip


def _mail(node: Node) -> dict[str, Any]:
    values: dict[str, Any] = _MAIL.read(node)
    user = urlsplit(values.get("smtp", ""))
    if user.username and not (user.password or values.get("password_file")):
        raise NotAccepted(
            Refusal.of(node, "its `password_file` as well", "a user in `smtp` without a password", code="JQ205")
        )
    if user.username and user.scheme == "smtp" and values.get("starttls") == "never":
        accepted = "`starttls: required`, or smtps://, because passwords are sent only over TLS"
        raise NotAccepted(Refusal.of(node, accepted, "a user in `smtp` with `starttls: never`", code="JQ205"))
    return values


MAIL = replace(_MAIL, read=_mail)


def _rule(values: dict[str, Any]) -> NotifyRule:
    policy = DEFAULT_POLICY._replace(**{name: values[name] for name in Policy._fields if name in values})
    scope = {name: values[name] for name in ("jobs", "tags", "users") if name in values}
    return NotifyRule(_notify({"on": EVENTS_OF_SITE, **values}), policy=policy, **scope)


NOTIFY = made(section(_NOTIFY), _notify)
_LATE = table(
    Key("after", duration("1s", "365d"), "", "Longest time between a run's due time and its end.", "2h"),
    Key(
        "level",
        number(0.5, 0.99),
        "",
        "Share of usual runs that are on time. With 0.99, 1 of 100 usual runs is late; this needs 99 recorded runs. "
        "With 0.95, 1 of 20 usual runs is late; this needs 20 recorded runs. While fewer runs are recorded, the "
        "default limit applies.",
        "0.95",
    ),
)


def _late(node: Node) -> Late | None:
    try:
        return USUALLY if FLAG.read(node) else None
    except NotAccepted as wrong:
        meant = isinstance(node, Scalar) and next((one for one in _meant_late(node) if one), "")
        raise NotAccepted(*(one._replace(meant=meant or one.meant) for one in wrong.refusals)) from None


def _meant_late(node: Scalar) -> Iterator[str]:
    """Yield the mappings that a single value may stand for, such as `{runs: 3}`."""
    for name, key in _LATE.items():
        with suppress(NotAccepted):
            key.type.read(node)
            yield f"{{{name}: {node.text}}}"


LATE = either(replace(FLAG, read=_late), made(section(_LATE), lambda values: Late(**values)))
_ADDRESS = "an address as well: `email`, `webhook`, `command` or `apprise`"
_WHOLE_RULE = made(section(_RULE), _rule)


def _addressed(node: Node) -> NotifyRule:
    rule: NotifyRule = _WHOLE_RULE.read(node)
    if next(rule.notify.targets(), None) is None:
        raise NotAccepted(Refusal.of(node, _ADDRESS, "no recipient", code="JQ205"))
    return rule


RULES = one_or_more(replace(_WHOLE_RULE, read=_addressed), least=0)


_CHECK = unshown(url("a URL such as https://hc-ping.com/UUID", "https", "http"))
_PING = section(table(
    Key("url", _CHECK, "",
        "URL of a check in the format of healthchecks.io: /start, /fail or the exit code is appended.",
        "https://hc-ping.com/UUID"),
    Key("start", _CHECK, "", "URL to request when a run starts.", "https://example.org/p/KEY?state=run"),
    Key("success", _CHECK, "", "URL to request when a run succeeds.", "https://example.org/api/push/TOKEN?status=up"),
    Key("failure", _CHECK, "", "URL to request when a run fails.", "https://example.org/api/push/TOKEN?status=down"),
    Key("output", FLAG, "true", "Send the end of the output to `url`, with the result of the run.", "false"),
))  # fmt: skip
_HEARTBEAT = section(
    table(
        Key("url", _CHECK, "", "URL to request.", "https://hc-ping.com/UUID"),
        Key("every", duration("10s", "1d"), "1m", "Time between two requests.", "5m"),
    )
)


def _ping(node: Node) -> Ping:
    found = Ping(**_PING.read(node))
    if not found.target.address:
        raise NotAccepted(Refusal.of(node, "a `url`, or one of `start`, `success` and `failure`", code="JQ205"))
    return found


def _heartbeat(node: Node) -> Heartbeat:
    values = {"every": MINUTE, **_HEARTBEAT.read(node)}
    if "url" not in values:
        raise NotAccepted(Refusal.of(node, "its `url` as well", code="JQ205"))
    return Heartbeat(**values)


PING = either(made(_CHECK, Ping), replace(_PING, read=_ping))
HEARTBEAT = replace(_HEARTBEAT, read=_heartbeat)
