"""The verdict on one image: the daemon starts on it by itself, and takes nothing back that somebody has seen."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.power import blocks
from tests.power.life import NOTE, SOMEBODY, Lived, Place, runs, unmount
from tests.power.states import state
from tests.power.tree import ROOT, Act, Link, Tree, Write
from tests.support.host import Host, wait_for

_ALARMS = ("bug", "degraded", "trouble", "unsaved")
_ENDLESS = ("tick", "long")
SETTLING, MENDING = 60.0, 30.0


class Image(NamedTuple):
    """The power goes off after so many acts, and this is what is there."""

    length: int
    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.length}:{self.kind}:{self.seed}"


class Witness:
    """What somebody outside of the disk has seen."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.starts: list[tuple[str, str, str, str]] = []
        """Job, run, attempt, due."""
        self.told: list[tuple[str, ...]] = []
        for words in map(str.split, lines):
            if words[0] == "start":
                self.starts.append((words[1], words[2], words[3], words[4]))
            elif words[0] == "told":
                self.told.append(tuple(words[1:]))

    def last(self, what: str) -> list[str]:
        """All answers of a kind, in order."""
        return [words[1] for words in self.told if words[0] == what]


def seen(acts: list[Act]) -> Witness:
    """The witness of a life so far."""
    node = next((act.node for act in acts if isinstance(act, Link) and act.name == "witness"), None)
    lines = b"".join(act.data for act in acts if isinstance(act, Write) and act.node == node)
    return Witness(lines.decode().splitlines())


def lay(tree: Tree, number: int, path: Path) -> None:
    """Make a part of a tree real; the times of directories too, as a start goes by them."""
    node = tree.nodes[number]
    if node.is_directory:
        path.mkdir()
        for name, child in node.names.items():
            lay(tree, child, path / name)
    elif stat.S_ISLNK(node.mode):
        path.symlink_to(node.target)
        return
    else:
        path.write_bytes(node.data)
    os.chown(path, node.owner, node.group)
    os.chmod(path, stat.S_IMODE(node.mode))
    os.utime(path, ns=(node.modified, node.modified))


class Found(Host):
    """A host that is there already."""

    def __init__(self, root: Path) -> None:
        self.root, self.program, self.daemon = root, ("-m", "jobqueued"), None

    def small_ones(self) -> list[int]:
        """Others have a root of the same name, in another mount namespace."""
        return [pid for pid in super().small_ones() if _mounts(pid) == _mounts("self")]


def _mounts(pid: int | str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:  # it has ended
        return ""


class Check:
    """One image is started, and looked at; `wrong` has what is not as it should be."""

    def __init__(self, place: Place, lived: Lived, image: Image) -> None:
        self.place, self.image, self.kind, self.log = place, image, lived.kind, ""
        acts = lived.acts[: image.length]
        self.before, self.whole = seen(acts), seen(lived.acts)
        self.tree = state(acts, image.kind, image.seed)
        self.wrong: list[str] = []
        self.said: list[str] = []

    def carry_out(self, disk: Path) -> None:
        """Do it; `disk` is a directory that is not there yet."""
        disk.mkdir()
        (disk / "outside").mkdir()
        if self.kind:
            (disk / "host").mkdir()
            blocks.lay(self.tree, disk / blocks.FILE)
            try:
                blocks.attach(self.kind, disk / blocks.FILE, disk / "host")
            except subprocess.CalledProcessError as error:
                self.wrong.append(f"the file system can't be mounted: {error.stderr.decode()}")
                return
        else:
            lay(self.tree, self.tree.nodes[ROOT].names["host"], disk / "host")
        try:
            self._start(disk)
        finally:
            unmount(disk / "host")

    def _start(self, disk: Path) -> None:
        with self.place.booted(disk):
            host = Found(self.place.root)
            (self.place.root / "daemon.log").unlink(missing_ok=True)
            try:
                self.wrong += self._checked(host)
            except (AssertionError, OSError, LookupError, ValueError) as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
            finally:
                host.close()
                self.log = host.log()

    def _checked(self, host: Host) -> Iterator[str]:
        host.start()
        for event in _ALARMS:
            for line in host.said(event):
                self.said.append(line["message"])
        yield from self._answers(host)
        host.call("Release")
        try:
            wait_for(lambda: self._is_settled(host), SETTLING)
        except AssertionError:
            busy = [job["id"] for job in host.call("List")["jobs"] if _is_busy(job)]
            yield f"does not settle: {busy}, {host.call('Submissions')}, {host.call('Notices')['notices']}"
        after = self._after()
        yield from self._doubled(after)
        yield from self._recorded(host)
        yield from self._covered(host, after)
        yield from self._notified(after)
        yield from self._files(host)

    def _after(self) -> Witness:
        path = self.place.witness
        return Witness(path.read_text().splitlines() if path.exists() else [])

    def _is_settled(self, host: Host) -> bool:
        jobs = host.call("List")["jobs"]
        left = host.call("Submissions")["submissions"]
        return not (
            any(map(_is_busy, jobs))
            or any(it["running"] or it["waiting"] for it in left if it["at"] is None)
            or host.call("Notices")["notices"]
        )

    def _allowed(self, what: str, first: str) -> set[str]:
        """The last answer of a kind, and that of the request that may have been on its way."""
        told, all_told = self.before.last(what), self.whole.last(what)
        return {told[-1] if told else first, *all_told[len(told) : len(told) + 1]}

    def _answers(self, host: Host) -> Iterator[str]:
        """What was answered counts."""
        wait_for(lambda: host.call("Status")["launcher"], why="its launcher answers")
        status = host.call("List")
        if status["jobs"]:
            (quiet,) = [job for job in status["jobs"] if job["id"] == "quiet"]
            found = {
                "paused": str(int(quiet["paused"])), "held": str(int(status["held_by"] is not None)),
                "user-file": self._text(host.call("UserFileGet", name="mine", user=SOMEBODY), "text"),
                "crontab": self._text(host.call("CrontabGet", user=SOMEBODY), "table"),
            }  # fmt: skip
            for what, value in found.items():
                first = {"paused": "0", "held": "0"}.get(what, "-")
                if value not in self._allowed(what, first):
                    yield f"{what} is {value}; answered was {self._allowed(what, first)}"
        elif self.before.told:
            yield "there are no jobs"
        for words in self.before.told:
            if words[0] == "submitted":
                submission = {"keys": {"command": NOTE}, "key": words[1]}
                answer = host.call("Submit", submission=submission)
                if (answer.get("job"), answer.get("is_new")) != (words[2], False):
                    yield f"{words[2]}, answered for the key {words[1]}, is not known: {answer}"

    @staticmethod
    def _text(answer: dict[str, Any], key: str) -> str:
        assert answer.get("error") in (None, "io.jobqueue.NoCrontab", "io.jobqueue.NoSuchUserFile"), answer
        return answer.get(key) or "-"

    def _doubled(self, after: Witness) -> Iterator[str]:
        both = [*self.before.starts, *after.starts]
        for (run, attempt), count in Counter((run, attempt) for _, run, attempt, _ in both).items():
            if count > 1:
                yield f"doubled: {run}.{attempt} was started {count} times"
        of_due: dict[tuple[str, str], set[str]] = {}
        for job, run, _, due in both:
            if job == "tick":
                of_due.setdefault((job, due), set()).add(run)
        for (job, due), found in of_due.items():
            if len(found) > 1:
                yield f"doubled: {job} due {due} ran as {sorted(found)}"

    def _recorded(self, host: Host) -> Iterator[str]:
        """What ran before has a record that says so, and what was told to have ended, has ended so."""
        records: dict[str, Any] = {}
        names = {run for _, run, _, _ in self.before.starts} | set(self.before.last("run"))
        for run in names:
            records[run] = host.call("Show", run=run).get("record")
            if records[run] is None:
                yield f"lost: {run} is not known"
        for job, run, attempt, _ in self.before.starts:
            record = records[run]
            attempts = [each["attempt"] for each in (record or {}).get("attempts", ())]
            if record is not None and int(attempt) not in attempts:
                yield f"lost: attempt {attempt} of {run} ({job}) is not in its record: {record['state']}, {attempts}"
        for words in self.before.told:
            if words[0] == "end" and (record := records.get(words[1])) is not None:
                found = (record["state"], str(record["exit_code"]))
                if found != (words[2], words[3]):
                    yield f"{words[1]} was told to be {words[2:]}, and is {found}"

    def _covered(self, host: Host, after: Witness) -> Iterator[str]:
        """Each second from the first tick on has one record."""
        first = min((_second(due) for job, _, _, due in self.before.starts if job == "tick"), default=None)
        covered: Counter[int] = Counter()
        for run in runs(host, "tick"):
            begin = _second(run["due"])
            end = _second(run["last_due"]) if run.get("last_due") else begin
            covered.update(range(begin, end + 1))
            if run.get("count", 1) != end - begin + 1:
                yield f"{run['run']} covers {run.get('count')} from {run['due']} to {run.get('last_due')}"
        if doubled := [second for second, count in covered.items() if count > 1]:
            yield f"doubled: tick has several records of {doubled}"
        if first is not None and (holes := sorted(set(range(first, max(covered, default=first) + 1)) - set(covered))):
            yield f"lost: tick has no record of {holes}; the first was {first}"

    def _notified(self, after: Witness) -> Iterator[str]:
        lines = [*self.before.lines, *after.lines]
        if any(words[:2] == ("end", "failing@1") for words in self.before.told) and not any(
            line.startswith("notice") and "failing@1" in line for line in lines
        ):
            yield "lost: nobody was told of failing@1"

    def _files(self, host: Host) -> Iterator[str]:
        """Record files are whole, once housekeeping has been there, and say what history says."""
        logs = self.place.root / "logs"
        with contextlib.suppress(AssertionError):
            wait_for(lambda: all(map(_is_json, logs.glob("*/*.json"))), MENDING)
        for path in sorted(logs.glob("*/*.json")):
            run = f"{path.parent.name}@{path.stem}"
            try:
                document = json.loads(path.read_bytes())
            except ValueError:
                yield f"the record file of {run} is no JSON: {path.read_bytes()[:60]!r}"
                continue
            found = host.call("Show", run=document["run"]).get("record", {})
            if found.get("state") != document["state"] and found.get("state") not in ("running", "starting"):
                yield f"{run} is {document['state']} in its file, {found.get('state')} in history"


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _is_busy(job: dict[str, Any]) -> bool:
    if job["id"] == "tick":
        return False
    return bool(job["due"] or job["waiting"] or job["retrying"] or (job["running"] and job["id"] != "long"))


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
