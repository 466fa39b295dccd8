"""Job files, drawn at random and written by hand."""

from __future__ import annotations

from hypothesis import strategies as st

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.jobfile.keys.keys import FILE_KEYS, JOB_KEYS
from jobqueued.model.job import UNBOUNDED, Claim, Escalation, On, Overlap, Scope
from jobqueued.model.notify import USUALLY, Late


def _flow(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


SCALARS = st.sampled_from([
    "", "~", "5", "0755", "no", "true", "x", "2h", "512M", '"0 2 * * *"', "UTC", "/srv", ".inf", '"*"', "0022", "none",
    "H/2", "@reboot", "H H 31 H *",
])  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["A", "b", "0", "~"]), inner, max_size=2).map(_flow)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["a", "B", "x.y", *JOB_KEYS, *FILE_KEYS])
BODIES = st.dictionaries(NAMES, VALUES, max_size=5).map(_flow) | VALUES
SECTIONS = st.dictionaries(st.sampled_from(["a", "b-1", "C", ""]), BODIES, max_size=3).map(_flow)

GOOD = [
    ("timeout: 1d12h", DAY + 12 * HOUR), ("timeout: 90s", 90 * SECOND), ("timeout: none", None),
    ("timeout: null", None), ("max_waiting: none", UNBOUNDED), ("max_waiting: 5", 5),
    ("grace: 0s", 0), ("kill_grace: 1h", HOUR), ("catch_up_window: 1m", MINUTE), ("output_limit: 512M", 512 << 20),
    ("output_limit: 1T", 1 << 40), ("umask: 0022", 0o22), ('umask: "077"', 0o77), ("priority: -1000", -1000),
    ("enabled: false", False), ("command: true", "true"), ("command: [sleep, 5, 0755, '']", ("sleep", "5", "0755", "")),
    ("environment: {A: 8080, B: no, C: ''}", (("A", "8080"), ("B", "no"), ("C", ""))), ("environment:", ()),
    ("success_codes: [0, 0x18]", (0, 24)), ("tags: [a, 1]", ("a", "1")), ("user: www-data", "www-data"),
    ("metadata: {a: [1, 1.5, no, ~, 12:30]}", {"a": [1, 1.5, "no", None, "12:30"]}), ("dst: both", "both"),
    ("exclusive: true", True), ("overlap: replace", Overlap.REPLACE), ("placement: pack", "pack"),
    ("start_deadline: none", None), ("start_deadline: 1h", HOUR), ("max_runs: 1", 1), ("max_runs: none", None),
    ("escalation: {points: 0}", Escalation(points=0)), ("escalation: {every: 1s}", Escalation(every=SECOND)),
    ("escalation:", Escalation()),
    ("locks: [a, {name: b, mode: shared}, {name: c, units: 2}, {name: d}, 7]",
        (Claim("a", exclusive=True), Claim("b"), Claim("c", units=2), Claim("d", exclusive=True),
            Claim("7", exclusive=True))),
    ("locks: [{path: /run/a.lock}, {path: /b, mode: shared}]", (Claim("/run/a.lock", exclusive=True), Claim("/b"))),
    ("resources: {cpu: 1, memory: 1G, gpu: 2}", (Claim("cpu", 1000), Claim("memory", 1 << 30), Claim("gpu", 2))),
    ("locks: [true]", (Claim("true", exclusive=True),)), ("scope: fleet", Scope.FLEET), ("scope: host", Scope.HOST),
    ("locks: {name: a, scope: fleet, mode: exclusive}", (Claim(":fleet/a", exclusive=True),)),
    ("resources: {cpu: 50%}", (Claim("cpu", 500),)), ("resources: {cpu: 1.5}", (Claim("cpu", 1500),)),
    ("resources: {cpu: 0.01}", (Claim("cpu", 10),)), ("resources:", ()),
    ("dependencies: [a, b-1]", ("a", "b-1")), ("dependency_timeout: 90m", 90 * MINUTE),
    ("on_dependency_failure: run", "run"), ("drain: 1s", SECOND),
    ("retries: 1000", 1000), ("retry_delay: 0s", 0), ("retry_backoff: 1.5", 1.5), ("retry_backoff: 2", 2.0),
    ("retry_max_delay: none", None), ("retry_max_delay: 30d", 30 * DAY),
    ("retry_on: [75, 0x10, timeout, lost, start, SIGSEGV, SIGRTMIN+3]",
        ("75", "16", "timeout", "lost", "start", "SIGSEGV", "SIGRTMIN+3")),
    ("failover: echo broken", "echo broken"), ("failover: [/bin/echo, broken]", ("/bin/echo", "broken")),
    ("on: boot", ("boot",)),
    ("on: [boot, {event: a}, {job: b}, {job: c, result: any}]",
        ("boot", On("event", "a"), On("job", "b"), On("job", "c", "any"))),
    ("late: true", USUALLY), ("late: false", None), ("late: {after: 2h}", Late(2 * HOUR)),
    ("late: {level: 0.95}", Late(level=0.95)), ("late: {after: 1s, level: 0.5}", Late(SECOND, 0.5)),
    ("expect: 26h", 26 * HOUR), ("expect: none", None),
    ("on: {job: b, result: failure}", (On("job", "b", "failure"),)),
]  # fmt: skip
"""The text of a key with its value, and what is read of it, in the model's units."""
