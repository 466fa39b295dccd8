"""FoundProcesses: who is a lost attempt's own, who may be, and who is neither, among processes that are made up."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from jobqueued.runs.leftover_processes import (
    INVOCATION,
    Clues,
    Details,
    FoundProcesses,
    LeftoverProcess,
    Processes,
    identity,
    named,
)

GIVEN = {"JOBQUEUE_RUN": "job@1", "JOBQUEUE_ATTEMPT": "1", "JOBQUEUE_DUE": "d", INVOCATION: "a" * 32}
OF_ANOTHER_HOST = {**GIVEN, INVOCATION: "b" * 32}
OLD = {name: value for name, value in GIVEN.items() if name != INVOCATION}
SCHEDULER, SHELL, ATD = 500, 400, 300
AROUND = "1:name=systemd:/\n0::/\n"
CLUES = Clues(since=100, identity=GIVEN, main=(1000, 110, 111), around=AROUND)
HOST = [
    LeftoverProcess(1, 0, 0, 0),
    LeftoverProcess(2, 0, 0, 0),
    LeftoverProcess(ATD, 1, ATD, 5),
    LeftoverProcess(SHELL, 1, SHELL, 50),
    LeftoverProcess(SCHEDULER, SHELL, SHELL, 400),
]


class Known(NamedTuple):
    """A process with its details."""

    process: LeftoverProcess
    details: Details


def it(
    pid: int, parent: int = 1, session: int | None = None, birth: int = 120, name: str = "it", **details: Any
) -> Known:
    """A process that is young, and in a session of its own unless told."""
    known = LeftoverProcess(pid, parent, pid if session is None else session, birth, name)
    return Known(known, Details(**{"cgroups": AROUND, **details}))


def told(*processes: Known, clues: Clues = CLUES, host: list[LeftoverProcess] = HOST) -> tuple[list[int], list[int]]:
    """The pids of those that are certain, and of those that are not."""
    details = {each.process.pid: each.details for each in processes}
    known = [*host, *(each.process for each in processes)]
    processes = Processes(SCHEDULER)
    for each in known:
        processes.add(each)
    for top in processes.tops(clues.since):
        if top is not None:
            processes.note(top, details.get(top.pid, Details()))
    found = processes.find(clues)
    return [each.pid for each in found.certain], [each.pid for each in found.uncertain]


def test_nobody() -> None:
    """On a host where all is older than the attempt, or asks, nothing is left of it."""
    assert ([], []) == told()


CERTAIN = {
    "its main process": [it(1000, birth=110)],
    "an orphan with its id": [it(20, environment=GIVEN)],
    "an orphan that our own subreaper has inherited": [it(20, SHELL, environment=GIVEN)],
    "what is below it, wherever that went": [
        it(20, environment=GIVEN), it(21, 20), it(22, 21, environment=None), it(23, 22, environment=OF_ANOTHER_HOST),
    ],
    "its session, whose leader has ended": [it(20, session=19, environment=GIVEN), it(21, session=19)],
    "the session of one that is below it": [it(1000, birth=110), it(21, 1000), it(22, session=21), it(23, 22)],
    "one whose parent has ended during the look": [it(20, 12345, environment=GIVEN)],
}  # fmt: skip


@pytest.mark.parametrize("processes", CERTAIN.values(), ids=CERTAIN)
def test_certain(processes: list[Known]) -> None:
    """All of these are its own."""
    assert (sorted(each.process.pid for each in processes), []) == told(*processes)


UNCERTAIN = {
    "an orphan without an environment": it(20),
    "an orphan whose environment can't be read": it(20, environment=None),
    "an orphan that our own subreaper has inherited": it(20, SHELL),
    "its id below somebody else": it(20, ATD, environment=GIVEN),
    "in the session of its main process, which has ended": it(20, session=1000),
}


@pytest.mark.parametrize("process", UNCERTAIN.values(), ids=UNCERTAIN)
def test_uncertain(process: Known) -> None:
    """Each of these might belong to it, and is not signalled."""
    assert ([], [process.process.pid]) == told(process)


NEITHER = {
    "older": it(20, birth=99, environment=GIVEN),
    "the same run of another daemon": it(20, environment=OF_ANOTHER_HOST),
    "the same run of another daemon of an older version": it(20, environment=OLD),
    "another run": it(20, environment={"JOBQUEUE_RUN": "job@2"}),
    "below somebody else": it(20, ATD),
    "of the kernel": it(20, 2, 0),
    "in an older session": it(20, session=SHELL),
    "in another cgroup": it(20, cgroups="1:name=systemd:/cron.service\n0::/\n"),
    "of a user as whom no job runs": it(20, is_foreign=True),
    "a launcher that has lost its scheduler": it(20, name="jq-launcher"),
    "a supervisor that has lost its launcher": it(20, name="jq-supervisor"),
    "the number of its main process, used again": it(1000, ATD, birth=200),
    "a child of ours": it(20, SCHEDULER),
}


@pytest.mark.parametrize("process", NEITHER.values(), ids=NEITHER)
def test_neither(process: Known) -> None:
    """Each of these is nothing of the attempt."""
    assert ([], []) == told(process)


def test_the_session_of_a_number_that_is_used_again() -> None:
    """A stranger who got the number of its main process, and leads a session, is not its kin, nor are his."""
    assert ([], []) == told(it(1000, ATD, birth=200), it(1001, 1000, 1000))


def test_with_a_cgroup() -> None:
    """The cgroup tells everything: who is in it, also below, is its own, and nobody else may be."""
    clues = CLUES._replace(cgroup="/q.scope/job@1.1")
    own, below = (it(20 + n, cgroups=f"0::/q.scope/job@1.1{path}\n") for n, path in enumerate(("", "/a/b")))
    others = [it(30, cgroups="0::/q.scope/job@1.10\n"), it(31, cgroups="0::/other/q.scope/job@1.1\n"), it(32)]
    assert ([20, 21], []) == told(own, below, *others, clues=clues)


def test_we_may_be_below_it() -> None:
    """A daemon that a job has started is spared, with all that it has started: it asks."""
    ours = it(SCHEDULER, 1000, 1000, birth=130, environment=GIVEN)
    assert ([1000], []) == told(it(1000, birth=110), ours, it(21, SCHEDULER), host=HOST[:-1])


def test_an_attempt_of_an_older_version() -> None:
    """Without an id of its own, what has the name of its run might belong to it."""
    clues = CLUES._replace(identity=OLD, main=None, around=None)
    assert ([], [20, 21, 22]) == told(it(20, environment=OLD), it(21, environment=GIVEN), it(22), clues=clues)


def test_nothing_is_known() -> None:
    """An R whose launch spec can't be read gives no identity, and nobody has that."""
    assert ([], [20]) == told(it(20), it(21, environment=GIVEN), clues=Clues(since=100, identity=identity(None)))


def test_names() -> None:
    """Some are named, the rest is counted."""
    assert "pid 20 (it)" == named([it(20).process])
    assert "pid 20 (it), pid 21 (it), pid 22 (it) and 2 more" == named([it(pid).process for pid in range(20, 25)])


def test_what_a_supervisor_has() -> None:
    """A supervisor that lives without R keeps it from being over, and so does what it has, however young both are."""
    title = ("job@1.1", "/run/jobqueue/runs/boot")
    clues = Clues(since=100, identity=OLD, title=title)
    supervisor = LeftoverProcess(30, SCHEDULER, SCHEDULER, 450, "jq-supervisor")
    jobs = Known(LeftoverProcess(31, 30, 31, 460, "it"), Details(environment=GIVEN))
    assert ([], [31]) == told(jobs, clues=clues, host=[*HOST, supervisor])
    words = {
        "its own": (["jq-supervisor", "job@1.1", "/run/jobqueue/runs"], [30]),
        "its own, for want of room": (["jq-supervisor", "job@1.1", "/run/jobq"], [30]),
        "its own, for want of more room": (["jq-supervisor", "job@1.1"], [30]),
        "another's": (["jq-supervisor", "job@2.1", "/run/jobqueue/runs"], []),
        "another daemon's": (["jq-supervisor", "job@1.1", "/srv/run/runs"], []),
        "idle": (["jq-supervisor", "idle", "/run/jobqueue/runs"], []),
        "gone meanwhile": ([""], []),
    }
    for what, (shown, found) in words.items():
        processes = Processes(SCHEDULER)
        for each in (*HOST, supervisor):
            processes.add(each)
        processes.entitle(supervisor, shown)
        assert (FoundProcesses([], [supervisor] if found else [])) == processes.find(clues), what
