"""What jobs say, in the real journal: as they said it, whatever they say, however much, and whoever says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import ctl, record_file, sh, start, until

SUPPRESSED = "a596d6fe7bfa4994828e72309e95d61e"
"""MESSAGE_ID of journald when it drops lines of a unit that says too much (SD_MESSAGE_JOURNAL_DROPPED)."""
GO = Path("/run/output")
LINES = [
    b"hello", b"  leading and trailing  ", "Grüße, 世界 🎉".encode(), b"a\ttab", b"\x1b[31mred\x1b[0m\x1b]0;title\x07",
    b"\xff\xfe no UTF-8 \xc3(", b"a\0NUL", b"progress 1%\rprogress 2%\r", b"x" * 5000, b"y" * 100_000,
    b"\x85\xe2\x80\xa8",
]  # fmt: skip
FORGED = [
    b"JOBQUEUE_RUN=other@1", b"MESSAGE=forged", b"_UID=1", b"PRIORITY=0", b"MESSAGE", b"\x05\0\0\0\0\0\0\0hello", b"=",
    b".",
]  # fmt: skip

CHATTER = "for i in $(seq 0 39); do seq $((i*2500+1)) $((i*2500+2500)); sleep 0.25; done"
"""100,000 lines, in a way that leaves journald the time to take more of them than it then lets through."""

JOB_FILE = """
defaults: {journal_rate: 1000000, output_limit: 4M}
jobs:
  speaker: {command: cat /run/output/lines}
  forger: {command: cat /run/output/forged}
  last: {command: "printf 'no newline'"}
  chatty-1: {command: CHATTER}
  chatty-2: {command: CHATTER}
  chatty-3: {command: CHATTER}
  quiet: {command: "for i in 1 2 3 4 5; do echo line $i; done", journal_rate: 100}
  endless: {command: "head -c 1000000000 /dev/zero | tr '\\\\0' x", journal_rate: 100}
  told:
    command: |
      echo before
      until [ -e /run/output/go ]; do sleep 0.05; done
      echo after
  nowhere: {command: echo hello, output: none}
""".replace("CHATTER", json.dumps(CHATTER))

LIMIT = Path("/etc/systemd/journald.conf.d/limit.conf")
"""journald multiplies its limit by the room on the disk, here by 4; this makes it the 10,000 lines of a full one."""


@pytest.fixture(scope="module", autouse=True)
def started() -> Iterator[None]:
    GO.mkdir(exist_ok=True)
    (GO / "lines").write_bytes(b"\n".join(LINES) + b"\n")
    (GO / "forged").write_bytes(b"\n\n".join(FORGED) + b"\n")
    LIMIT.parent.mkdir(exist_ok=True)
    LIMIT.write_text("[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=2500\n")
    sh("systemctl", "restart", "systemd-journald")
    start(JOB_FILE)
    yield
    LIMIT.unlink()
    sh("systemctl", "restart", "systemd-journald")


def entries(*arguments: str) -> list[dict[str, Any]]:
    """Entries in full, with their messages as bytes."""
    sh("journalctl", "--sync")
    found = [json.loads(line) for line in sh("journalctl", "-o", "json", "--all", *arguments).splitlines()]
    return [{**entry, "MESSAGE": raw(entry["MESSAGE"])} for entry in found]


def raw(value: str | list[int]) -> bytes:
    """journalctl shows what is no text as a list of bytes."""
    return bytes(value) if isinstance(value, list) else value.encode()


def lines(*arguments: str) -> list[bytes]:
    return [entry["MESSAGE"] for entry in entries("JOBQUEUE_EVENT=output", *arguments)]


def ran(job: str) -> str:
    return sh("jobqueuectl", "run", job, "--wait").strip()


def told(run: str) -> Any:
    """What the record says of its lines."""
    return ctl("show", run)["output"]["journal"]


def test_each_line_is_there_byte_for_byte() -> None:
    """By job, by run, and with `-u jobqueued`; a line over journald's 48 KiB comes in marked pieces."""
    run = ran("speaker")
    expected = [piece for line in LINES for piece in (line[i : i + 49152] for i in range(0, len(line), 49152))]
    until("the last line", lambda: len(lines("-t", "speaker")) == len(expected))
    assert lines("-t", "speaker") == expected
    assert lines(f"JOBQUEUE_RUN={run}") == expected
    assert lines("-u", "jobqueued", "JOBQUEUE_JOB=speaker") == expected
    assert told(run) == {"lines": len(expected), "dropped": 0, "why": {}}
    long = [entry.get("JOBQUEUE_LINE_BREAK") for entry in entries("-t", "speaker") if entry["MESSAGE"][:1] == b"y"]
    assert long == ["line-max", "line-max", None]


def test_the_fields() -> None:
    """Whose line it is: fields for journalctl, and those that journald itself adds."""
    run = ran("last")
    [entry] = until("its line", lambda: entries("-t", "last", "JOBQUEUE_EVENT=output"))
    found = {name: entry[name] for name in entry if name.startswith(("JOBQUEUE", "SYSLOG", "PRIO", "OBJECT"))}
    pid = str(ctl("show", run)["pid"])
    assert (entry["MESSAGE"], entry["_UID"], entry["_TRANSPORT"]) == (b"no newline", "0", "journal")
    assert entry["_SYSTEMD_SLICE"] == "jobqueue.slice"
    assert found == {
        "PRIORITY": "6", "SYSLOG_IDENTIFIER": "last", "SYSLOG_PID": pid, "JOBQUEUE_EVENT": "output",
        "JOBQUEUE_JOB": "last", "JOBQUEUE_RUN": run, "JOBQUEUE_ATTEMPT": "1", "JOBQUEUE_PID": pid,
        "JOBQUEUE_LINE_BREAK": "eof", "OBJECT_SYSTEMD_UNIT": "jobqueued.service",
    }  # fmt: skip


def test_nothing_is_forged() -> None:
    """Lines that look like fields, with empty ones between, are messages of this run and nothing else."""
    run = ran("forger")
    until("the last line", lambda: len(lines("-t", "forger")) == len(FORGED))
    found = entries("-t", "forger")
    assert [entry["MESSAGE"] for entry in found] == FORGED
    assert {(e["JOBQUEUE_RUN"], e["PRIORITY"], e["_UID"]) for e in found} == {(run, "6", "0")}
    assert entries("JOBQUEUE_RUN=other@1") == []


def test_output_none() -> None:
    """Nothing in the journal and no file; the record has the tail."""
    output = ctl("show", ran("nowhere"))["output"]
    assert output == {"file": None, "bytes": 0, "dropped": 0, "tail": "hello\n", "journal": None}
    assert lines("-t", "nowhere") == []


def test_chatty_runs_do_not_silence_a_neighbour() -> None:
    """300,000 lines in ten seconds from three runs: another's lines are all there, journald suppresses nothing, and
    what was not sent is said in a line of each run.
    """
    runs = [sh("jobqueuectl", "run", f"chatty-{number}").strip() for number in (1, 2, 3)]
    quiet = ran("quiet")
    records = [until(f"the end of {run}", lambda run=run: record_file(run)) for run in runs]
    later = ran("quiet")
    for run in (quiet, later):
        assert lines(f"JOBQUEUE_RUN={run}") == [b"line %d" % number for number in range(1, 6)]
    for run, record in zip(runs, records, strict=True):
        journal = record["output"]["journal"]
        assert journal["lines"] + journal["dropped"] == 100_000
        numbers = [int(line) for line in lines(f"JOBQUEUE_RUN={run}")]
        assert (len(numbers), numbers) == (journal["lines"], sorted(set(numbers)))
        [note] = entries(f"JOBQUEUE_RUN={run}", "JOBQUEUE_EVENT=output_unsent")
        assert note["MESSAGE"].decode().startswith(f"{journal['dropped']:,} lines were not sent to the journal (")
        assert note["MESSAGE"].decode().endswith(f"; all of the output is in {record['output']['file']}")
    assert sum(record["output"]["journal"]["lines"] for record in records) <= 8000
    assert entries(f"MESSAGE_ID={SUPPRESSED}") == []


def test_a_gigabyte_without_a_newline() -> None:
    """The supervisor needs no more memory for them, a neighbour runs meanwhile, and the journal is not filled."""
    run = sh("jobqueuectl", "run", "endless").strip()
    ran("quiet")
    record = until(f"the end of {run}", lambda: record_file(run))
    output = record["output"]
    assert (record["state"], output["bytes"], output["dropped"]) == ("succeeded", 4 << 20, 1_000_000_000 - (4 << 20))
    assert output["journal"]["lines"] + output["journal"]["dropped"] == -(-1_000_000_000 // 49152)
    assert output["journal"]["why"].keys() == {"journal_rate"}
    assert sum(map(len, lines(f"JOBQUEUE_RUN={run}"))) < 8 << 20
    assert max(map(peak_kib, sh("pgrep", "-f", "child/launcher.py|^jq-supervisor").split())) < 48 << 10


def peak_kib(pid: str) -> int:
    """The most memory that a process ever had."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0])


@pytest.fixture
def told_run() -> Iterator[str]:
    """A run of `told` that has said its first line."""
    (GO / "go").unlink(missing_ok=True)
    run = sh("jobqueuectl", "run", "told").strip()
    until("its first line", lambda: lines(f"JOBQUEUE_RUN={run}") == [b"before"])
    yield run
    (GO / "go").touch()


def test_journald_restarts(told_run: str) -> None:
    """A run that speaks over a restart of journald is heard before and after."""
    sh("systemctl", "restart", "systemd-journald")
    (GO / "go").touch()
    until("its record", lambda: record_file(told_run))
    until("its last line", lambda: lines(f"JOBQUEUE_RUN={told_run}") == [b"before", b"after"])


def test_a_journald_that_hangs() -> None:
    """While journald takes nothing, runs start and end, and what it did not take is counted."""
    sh("systemctl", "kill", "-s", "STOP", "systemd-journald")
    try:
        record = ctl("show", ran("chatty-1"))
        assert ctl("show", ran("nowhere"))["state"] == "succeeded"
    finally:
        sh("systemctl", "kill", "-s", "CONT", "systemd-journald")
    assert (record["state"], record["output"]["bytes"]) == ("succeeded", 588_895)
    found = record["output"]["journal"]
    assert found["lines"] + found["dropped"] == 100_000
    assert found["why"]["journald"] > 0
    run = record["run"]
    until("what it had taken", lambda: len(lines(f"JOBQUEUE_RUN={run}")) == found["lines"])
