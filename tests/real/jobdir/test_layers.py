"""layers: job files in four directories, masks and drop-ins, with real inotify and no clock."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.child.watcher import inotify
from jobqueued.jobdir.acceptance import LONGEST_WAIT
from jobqueued.jobdir.inbox import AGAIN, RESCAN
from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.tree.drop_ins import MAX_DROP_INS
from tests.support.layers import PLACES, Layered
from tests.support.users import NEEDS_ROOT, believing

A, B, C = (f"jobs:\n  j: {{command: {word}}}\n" for word in ("a", "b", "c"))


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Layered]:
    """Four directories, of which one is there, scanned once."""
    layered = Layered(tmp_path)
    assert ([], []) == (layered.scan(), layered.told())
    yield layered
    layered.watch.inbox.close()


# ── directories ──


def test_the_first_directory_that_has_a_file_counts(jobs: Layered) -> None:
    """A file takes the place of that of the same name in a later directory, and gives it back when it goes."""
    for place in reversed(PLACES):
        jobs.put(f"{place}/a.yaml", f"jobs: {{j: {{command: {place}}}}}")
        assert (["a.yaml: j"], {"j": place}) == (jobs.scan(), jobs.jobs("a.yaml"))
    for place, following in pairwise(PLACES):
        jobs.file(f"{place}/a.yaml").unlink()
        assert (["a.yaml: j"], {"j": following}) == (jobs.scan(), jobs.jobs("a.yaml"))
    jobs.file(f"{PLACES[-1]}/a.yaml").unlink()
    assert ([], LONGEST_WAIT) == (jobs.scan(0), jobs.watch.deadline)
    assert ["a.yaml gone"] == jobs.scan(LONGEST_WAIT)


def test_what_is_overridden_is_not_read(jobs: Layered) -> None:
    """A change of a file that another takes the place of changes nothing, however wrong it is."""
    jobs.put("etc/a.yaml", A)
    jobs.put("usr/lib/a.yaml", "5")
    assert (["a.yaml: j"], []) == (jobs.scan(), jobs.told())
    jobs.put("usr/lib/a.yaml", "[")
    jobs.scan()
    assert ([], {"j": "a"}) == (jobs.told(), jobs.jobs("a.yaml"))


def test_files_are_sorted_over_all_directories(tmp_path: Path) -> None:
    """By name, wherever they are; so of two with the same id, the first by name has it."""
    jobs = Layered(tmp_path)
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("etc/c.yaml", "jobs: {c: {command: x}}")
    jobs.put("run/b.yaml", B)
    assert (["a.yaml: j", "c.yaml: c"], {"b.yaml"}) == (jobs.scan(), jobs.problems().keys())
    where = jobs.file("usr/lib/a.yaml")
    assert [
        f"run/b.yaml:2: : found the id 'j'; expected an id that no other file uses ({where}:2 has it)".replace(
            str(tmp_path), ""
        )
    ] == jobs.told()
    jobs.watch.inbox.close()


def test_a_package_that_goes_with_its_directory_takes_its_jobs_along(jobs: Layered) -> None:
    """Other than of /etc, a directory that is not there is empty."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("usr/lib/b.yaml.d/x.yaml", "jobs: {b: {command: x}}")
    jobs.put("etc/b.yaml", "jobs: {}")
    assert ["a.yaml: j", "b.yaml: b"] == jobs.scan(0)
    for name in ("a.yaml", "b.yaml.d/x.yaml"):
        jobs.file(f"usr/lib/{name}").unlink()
    (jobs.root / "usr/lib/jobqueue.d/b.yaml.d").rmdir()
    (jobs.root / "usr/lib/jobqueue.d").rmdir()
    assert (["b.yaml: "], []) == (jobs.scan(0), jobs.told())
    assert ["a.yaml gone"] == jobs.scan(LONGEST_WAIT)
    jobs.put("usr/lib/a.yaml", B)
    assert ["a.yaml: j"] == jobs.scan(LONGEST_WAIT)


def test_a_new_version_of_a_broken_override_counts(jobs: Layered) -> None:
    """A file in /etc that is wrong keeps the jobs of what it takes the place of; it names itself."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.scan()
    jobs.put("etc/a.yaml", "jobs: {j: {comand: x}}")
    assert ([], {"j": "a"}) == (jobs.scan(), jobs.jobs("a.yaml"))
    assert ["etc/a.yaml:1: comand: found an unknown key; expected 'command'"] == jobs.told()
    assert [str(jobs.file("etc/a.yaml"))] == list(map(jobs.watch.place, jobs.watch.problems))
    jobs.put("etc/a.yaml", B)
    assert (["a.yaml: j"], {"j": "b"}) == (jobs.scan(), jobs.jobs("a.yaml"))


OPEN_TO_ALL = "found a directory that all users may write; expected one that only root can write: chmod go-w"


@NEEDS_ROOT
def test_a_directory_that_others_can_change_is_left_out(jobs: Layered) -> None:
    """Nothing in it counts, neither its files nor its masks and drop-ins; the others do, and it is said why."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("run/c.yaml", "jobs: {c: {command: x}}")
    jobs.put("run/b.yaml.d/x.yaml", "jobs: {d: {command: x}}")
    jobs.put("etc/b.yaml", "jobs: {b: {command: x}}")
    jobs.scan(0)
    directory = jobs.file("run/c.yaml").parent
    directory.chmod(0o777)
    jobs.put("usr/lib/a.yaml", B)
    jobs.put("run/a.yaml", C)
    assert (["a.yaml: j", "b.yaml: b"], {"j": "b"}) == (jobs.scan(0), jobs.jobs("a.yaml"))
    assert ["jobqueue.d"] == list(jobs.problems())
    assert [f"run:0: : {OPEN_TO_ALL} /run/jobqueue.d; until then its files are ignored"] == jobs.told()
    assert ["c.yaml gone"] == jobs.scan(LONGEST_WAIT)
    directory.chmod(0o755)
    assert (["a.yaml: j", "b.yaml: b d", "c.yaml: c"], {"j": "c"}, []) == (
        jobs.scan(LONGEST_WAIT + AGAIN), jobs.jobs("a.yaml"), jobs.told()
    )  # fmt: skip


@NEEDS_ROOT
def test_a_directory_that_is_left_out_from_the_start(tmp_path: Path) -> None:
    """What it is in may be open to others, as /usr/local/lib is to staff on Debian: the jobs of the others begin."""
    jobs = Layered(tmp_path)
    jobs.put("etc/a.yaml", A)
    jobs.file("usr/local/lib/b.yaml").parent.parent.chmod(0o777)
    assert (["a.yaml: j"], True) == (jobs.scan(0), jobs.watch.complete)
    assert [f"usr/local/lib:0: : {OPEN_TO_ALL} /usr/local/lib; until then its files are ignored"] == jobs.told()
    (tmp_path / "usr/local/lib").chmod(0o755)
    jobs.put("usr/local/lib/b.yaml", "jobs: {b: {command: x}}")
    assert (["b.yaml: b"], []) == (jobs.scan(AGAIN), jobs.told())
    jobs.watch.inbox.close()


@NEEDS_ROOT
@pytest.mark.parametrize("target", ["jobqueue.d", "x" * 300, "/proc/1/mem/x", "nowhere", "/etc"])
@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_link_of_others_keeps_nothing_from_being_read(tmp_path: Path, target: str, from_the_start: bool) -> None:
    """A user who may write to the parent can make each look-up fail. The directory is left out, whatever the error."""
    jobs, link = Layered(tmp_path), tmp_path / "usr/local/lib/jobqueue.d"
    jobs.put("etc/a.yaml", A)
    jobs.put("usr/lib/b.yaml", "jobs: {b: {command: x}}")
    link.parent.mkdir(parents=True)
    link.parent.chmod(0o777)
    if not from_the_start:
        assert ["a.yaml: j", "b.yaml: b"] == jobs.scan(0)
    link.symlink_to(target)
    jobs.put("etc/a.yaml", B)
    assert {True: ["a.yaml: j", "b.yaml: b"], False: ["a.yaml: j"]}[from_the_start] == jobs.scan(0)
    is_missing = target in ("nowhere", "/proc/1/mem/x")
    left_out = [f"usr/local/lib:0: : {OPEN_TO_ALL} /usr/local/lib; until then its files are ignored"]
    assert ([] if is_missing else left_out, {"j": "b"}) == (jobs.told(), jobs.jobs("a.yaml"))
    jobs.file("usr/lib/b.yaml").unlink()
    assert ([], ["b.yaml gone"]) == (jobs.scan(0), jobs.scan(LONGEST_WAIT))
    link.parent.chmod(0o755)
    if target == "jobqueue.d":  # a link of root's own is an error, which nothing is read without
        jobs.put("etc/a.yaml", C)
        assert ([], True) == (jobs.scan(LONGEST_WAIT + AGAIN), jobs.watch.inbox.is_unreadable)
    jobs.watch.inbox.close()


@NEEDS_ROOT
@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("before", ["_arm", "signature"], ids=["the listing", "the read"])
def test_a_link_that_appears_after_the_check(jobs: Layered, before: str, stays: bool) -> None:
    """A user who may write to the parent can put a link there when it counts as missing, and remove it again."""
    link, layer = jobs.root / "usr/local/lib/jobqueue.d", jobs.watch.inbox.parts[2]  # type: ignore[attr-defined]
    link.parent.mkdir(parents=True)
    link.parent.chmod(0o777)
    jobs.put("usr/lib/a.yaml", A)
    assert (["a.yaml: j"], []) == (jobs.scan(0), jobs.told())
    original, listdir, read = getattr(layer, before), os.listdir, layer._kind.read

    def appear(*given: Any) -> Any:
        if not link.is_symlink():
            link.symlink_to("jobqueue.d")
        return original(*given)

    def vanish(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(path: str, *given: Any) -> Any:
            try:
                return call(path, *given)
            finally:
                if not stays and path.startswith(str(link)):
                    link.unlink(missing_ok=True)

        return called

    jobs.put("usr/lib/a.yaml", B)
    jobs.watch.inbox.relist()  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer, before, appear)
        patch.setattr(os, "listdir", vanish(listdir))
        patch.setattr(layer, "_kind", replace(layer._kind, read=vanish(read)))
        assert (["a.yaml: j"], {"j": "b"}) == (jobs.scan(0), jobs.jobs("a.yaml"))
        assert not jobs.watch.inbox.is_unreadable
    link.unlink(missing_ok=True)
    jobs.put("usr/lib/a.yaml", C)
    assert (["a.yaml: j"], {"j": "c"}, []) == (jobs.scan(AGAIN), jobs.jobs("a.yaml"), jobs.told())


@NEEDS_ROOT
def test_files_that_appear_after_the_check(jobs: Layered) -> None:
    """A user who may write to the parent can move a directory of root's there; its files are ignored at once."""
    place, layer = jobs.root / "usr/local/lib/jobqueue.d", jobs.watch.inbox.parts[2]  # type: ignore[attr-defined]
    place.parent.mkdir(parents=True)
    place.parent.chmod(0o777)
    jobs.put("usr/lib/a.yaml", A)
    assert (["a.yaml: j"], []) == (jobs.scan(0), jobs.told())
    for before in ("_arm", "signature"):
        original = getattr(layer, before)

        def appear(*given: Any, original: Callable[..., Any] = original) -> Any:
            jobs.put("usr/local/lib/a.yaml", C)
            return original(*given)

        jobs.put("usr/lib/a.yaml", B)
        jobs.watch.inbox.relist()  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layer, before, appear)
            jobs.scan(0)
        assert {"j": "b"} == jobs.jobs("a.yaml")
        shutil.rmtree(place)
        jobs.scan(AGAIN)


def test_without_the_first_directory_nothing_changes(jobs: Layered, tmp_path: Path) -> None:
    """Its masks and drop-ins are not known then: of /etc a directory that is not there is none that is empty."""
    jobs.put("usr/lib/a.yaml", A)
    (jobs.path / "b.yaml").symlink_to("/dev/null")
    jobs.put("usr/lib/b.yaml", "jobs: {b: {command: x}}")
    jobs.scan(0)
    os.rename(jobs.path, tmp_path / "away")
    jobs.put("usr/lib/a.yaml", C)
    assert ([], {"j": "a"}, {}) == (jobs.scan(0), jobs.jobs("a.yaml"), jobs.jobs("b.yaml"))
    os.rename(tmp_path / "away", jobs.path)
    assert (["a.yaml: j"], {"j": "c"}, {}) == (jobs.scan(0), jobs.jobs("a.yaml"), jobs.jobs("b.yaml"))


# ── masks ──


def test_a_link_to_dev_null_masks_what_packages_have(jobs: Layered) -> None:
    """With all its drop-ins; once it goes, they are back."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("etc/a.yaml.d/x.yaml", "jobs: {k: {command: x}}")
    assert ["a.yaml: j k"] == jobs.scan(0)
    (jobs.path / "a.yaml").symlink_to("/dev/null")
    assert ["a.yaml: "] == jobs.scan(0)
    assert ["etc/a.yaml:0: : is masked by its link to /dev/null, so it has no jobs"] == jobs.news()
    (jobs.path / "a.yaml").unlink()
    assert ["a.yaml: j k"] == jobs.scan(0)


MASKS: dict[str, Callable[[Path], None]] = {
    "by way of another link": lambda path: (path.with_name("null").symlink_to("/dev/null"), path.symlink_to("null"))[1],  # type: ignore[func-returns-value]
    "to the same by another name": lambda path: path.symlink_to("/dev/../dev/null"),
    "to another device": lambda path: path.symlink_to("/dev/zero"),
    "to an empty file": lambda path: (path.with_name("empty").touch(), path.symlink_to("empty"))[1],  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("way", MASKS)
def test_no_other_link_masks(jobs: Layered, way: str) -> None:
    """Only a link to /dev/null itself does; any other is refused, and the last good jobs go on."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.scan()
    MASKS[way](jobs.path / "a.yaml")
    jobs.scan()
    assert {"j": "a"} == jobs.jobs("a.yaml")
    assert ["etc/a.yaml:0: : found a symbolic link; expected a regular file"] == jobs.told()


@NEEDS_ROOT
def test_a_mask_of_somebody_else_is_refused(jobs: Layered) -> None:
    """As a file of somebody else's is."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.scan()
    (jobs.path / "a.yaml").symlink_to("/dev/null")
    os.chown(jobs.path / "a.yaml", 65534, -1, follow_symlinks=False)
    jobs.scan()
    assert {"j": "a"} == jobs.jobs("a.yaml")
    reason = "found a symbolic link that user nobody owns; expected one that only root can write: chown -h root"
    assert [f"etc/a.yaml:0: : {reason} /etc/jobqueue.d/a.yaml"] == jobs.told()


def test_an_empty_file_masks_nothing(jobs: Layered) -> None:
    """It is what a full disk leaves; `jobs: {}` says that there are none."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.scan()
    jobs.put("etc/a.yaml", "")
    jobs.scan()
    reason = "found an empty file that had jobs; to remove all of them, write `jobs: {}`"
    assert ([f"etc/a.yaml:0: : {reason}"], {"j": "a"}) == (jobs.told(), jobs.jobs("a.yaml"))
    jobs.put("etc/a.yaml", "jobs: {}")
    assert (["a.yaml: "], []) == (jobs.scan(), jobs.told())


# ── drop-ins ──


def test_drop_ins_are_taken_by_name_from_all_directories(jobs: Layered) -> None:
    """Each name once, from the first directory that has it, wherever the file itself is."""
    jobs.put("run/a.yaml", "jobs:\n  j: {command: main, priority: 1}\n")
    for place in PLACES:
        jobs.put(f"{place}/a.yaml.d/20.yaml", f"jobs: {{j: {{command: {place}}}}}")
    jobs.put("usr/lib/a.yaml.d/10.yaml", "jobs: {j: {command: ten, nice: 3}}")
    jobs.put("usr/lib/a.yaml.d/README", "no drop-in")
    jobs.scan()
    (job,) = jobs.watch.last_good(str(jobs.path / "a.yaml"))
    assert ("etc", 1, 3) == (job.command, job.priority, job.nice)
    assert ["usr/lib/a.yaml.d/10.yaml", "etc/a.yaml.d/20.yaml"] == [jobs.where(path) for path in job.drop_ins]
    assert ("run/a.yaml", 2) == (jobs.where(job.origin), job.line)


def test_each_change_of_a_drop_in_is_seen(jobs: Layered) -> None:
    """Made, written, moved in, replaced with its directory, removed: inotify tells, and only its file is read."""
    jobs.put("etc/a.yaml", A)
    jobs.put("etc/b.yaml", "jobs: {b: {command: x}}")
    jobs.scan()
    drop_in = jobs.put("etc/a.yaml.d/x.yaml", B)
    assert (["a.yaml: j"], ["a.yaml"], {"j": "b"}) == (jobs.scan(), jobs.read, jobs.jobs("a.yaml"))
    drop_in.write_text(C)
    assert (["a.yaml: j"], {"j": "c"}) == (jobs.scan(), jobs.jobs("a.yaml"))
    (jobs.root / "new").write_text(B)
    os.rename(jobs.root / "new", drop_in)
    assert (["a.yaml: j"], {"j": "b"}) == (jobs.scan(), jobs.jobs("a.yaml"))
    (jobs.root / "new").mkdir()
    (jobs.root / "new" / "y.yaml").write_text(C)
    os.rename(drop_in.parent, jobs.root / "old")
    assert (["a.yaml: j"], {"j": "a"}) == (jobs.scan(), jobs.jobs("a.yaml"))
    os.rename(jobs.root / "new", drop_in.parent)
    assert (["a.yaml: j"], {"j": "c"}) == (jobs.scan(), jobs.jobs("a.yaml"))
    (jobs.root / "old" / "x.yaml").write_text(A)
    assert [] == jobs.scan()
    (drop_in.parent / "y.yaml").unlink()
    assert (["a.yaml: j"], {"j": "a"}) == (jobs.scan(), jobs.jobs("a.yaml"))


def test_a_drop_in_is_not_read_while_it_is_written(jobs: Layered) -> None:
    """Until its writer closes it, its file is what it was; also for a daemon that starts meanwhile."""
    jobs.put("etc/a.yaml", A)
    drop_in = jobs.put("etc/a.yaml.d/x.yaml", B)
    jobs.scan()
    with open(drop_in, "w") as file:
        file.write("jobs: {j: {command: rm -rf /srv/old}}")
        file.flush()
        jobs.put("etc/a.yaml", "jobs: {j: {command: other}, k: {command: x}}")
        assert ([], {"j": "b"}) == (jobs.scan(), jobs.jobs("a.yaml"))
        later = again(jobs)
        assert (["a.yaml: j"], {"j": "b"}) == (later.scan(), later.jobs("a.yaml"))
        file.seek(0)
        file.truncate()
        file.write(C)
    for each in (jobs, later):
        assert (["a.yaml: j k"], {"j": "c", "k": "x"}) == (each.scan(), each.jobs("a.yaml"))
    later.watch.inbox.close()


def test_a_broken_drop_in_makes_its_file_stale(jobs: Layered) -> None:
    """The last good texts, of all parts together, go on; the problem is at its place, and the next start has them."""
    jobs.put("usr/lib/a.yaml", "jobs:\n  j:\n    command: a\n    environment: {X: '1'}\n")
    drop_in = jobs.put("etc/a.yaml.d/x.yaml", "jobs:\n  j:\n    environment: {Y: '2'}\n")
    jobs.put("etc/b.yaml", "jobs: {b: {command: x}}")
    jobs.scan()
    drop_in.write_text("jobs:\n  j:\n    environment:\n      Y: [2]\n    prioriti: 3\n")
    jobs.put("usr/lib/a.yaml", "jobs: {j: {command: changed}}")
    jobs.put("etc/b.yaml", "jobs: {c: {command: x}}")
    assert ["b.yaml: c"] == jobs.scan()
    wrong = [
        'etc/a.yaml.d/x.yaml:4: environment.Y: found a list; expected a string ("" for an empty one)',
        "etc/a.yaml.d/x.yaml:5: prioriti: found an unknown key; expected 'priority'",
    ]
    later = again(jobs)
    later.scan()
    for each in (jobs, later):
        (job,) = each.watch.last_good(str(jobs.path / "a.yaml"))
        assert (wrong, "a", {"X": "1", "Y": "2"}) == (each.told(), job.command, dict(job.environment))
        assert ([str(jobs.file("usr/lib/a.yaml"))], True) == (
            list(map(each.watch.place, each.watch.problems)),
            each.watch.complete,
        )
    drop_in.unlink()
    for each in (jobs, later):
        assert (["a.yaml: j"], {"j": "changed"}, []) == (each.scan(), each.jobs("a.yaml"), each.told())
    later.watch.inbox.close()


def test_drop_ins_of_no_file_are_told_of(jobs: Layered) -> None:
    """They make no jobs, are a warning, and count once the file is there; and again when it went."""
    jobs.put("etc/a.yaml.d/x.yaml", A)
    assert ([], []) == (jobs.scan(0), jobs.told())
    orphans = "etc/a.yaml.d:0: : is ignored, because there is no a.yaml; expected drop-ins of a job file"
    assert [orphans] == jobs.news()
    jobs.watch.inbox.relist()
    assert ([], []) == (jobs.scan(0), jobs.news())
    main = jobs.put("usr/lib/a.yaml", B)
    assert (["a.yaml: j"], {"j": "a"}) == (jobs.scan(0), jobs.jobs("a.yaml"))
    main.unlink()
    assert ([], [orphans]) == (jobs.scan(0), jobs.news())
    assert ["a.yaml gone"] == jobs.scan(LONGEST_WAIT)


def test_a_drop_in_is_masked_and_overridden(jobs: Layered) -> None:
    """By a link to /dev/null of the same name, or `{}`; one that is empty is what a full disk leaves."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("usr/lib/a.yaml.d/x.yaml", B)
    mask = jobs.put("etc/a.yaml.d/x.yaml", "")
    jobs.scan()
    empty = "found an empty drop-in; expected `{}`, or a link to /dev/null, for a drop-in without changes"
    assert [f"etc/a.yaml.d/x.yaml:0: : {empty}"] == jobs.told()
    for text in ("{}", "# nothing"):
        mask.write_text(text)
        jobs.scan()
        assert ([], {"j": "a"}) == (jobs.told(), jobs.jobs("a.yaml"))
    mask.unlink()
    jobs.scan()
    assert {"j": "b"} == jobs.jobs("a.yaml")
    mask.symlink_to("/dev/null")
    jobs.scan()
    assert ([], {"j": "a"}) == (jobs.told(), jobs.jobs("a.yaml"))


def test_a_job_in_drop_ins_of_two_files_is_the_first_ones(jobs: Layered) -> None:
    """The second file is refused as a whole, at the place in its drop-in."""
    for name in ("a", "b"):
        jobs.put(f"etc/{name}.yaml", f"jobs: {{{name}: {{command: x}}}}")
    jobs.scan()
    for name in ("a", "b"):
        jobs.put(f"etc/{name}.yaml.d/x.yaml", "\njobs:\n  same: {command: x}")
    assert ["a.yaml: a same"] == jobs.scan()
    taken = "found the id 'same'; expected an id that no other file uses (/etc/jobqueue.d/a.yaml.d/x.yaml:3 has it)"
    assert ([f"etc/b.yaml.d/x.yaml:3: : {taken}"], {"b": "x"}) == (jobs.told(), jobs.jobs("b.yaml"))
    jobs.file("etc/a.yaml.d/x.yaml").unlink()
    assert ["b.yaml: b same", "a.yaml: a"] == jobs.scan()


def test_a_cycle_that_a_drop_in_closes_refuses_its_file(jobs: Layered) -> None:
    """What ran goes on without it."""
    jobs.put("etc/a.yaml", "jobs: {a: {command: x, dependencies: [b]}}")
    jobs.put("etc/b.yaml", "jobs:\n  b: {command: x}")
    jobs.scan()
    jobs.put("etc/b.yaml.d/x.yaml", "jobs: {b: {dependencies: [a]}}")
    assert ([], {"b": "x"}) == (jobs.scan(), jobs.jobs("b.yaml"))
    assert ["etc/b.yaml:2: : found a cycle: b → a → b"] == [it.partition(";")[0] for it in jobs.told()]


def many(directory: Path) -> None:
    for number in range(10_000):
        (directory / f"{number}.yaml").touch()


def big(directory: Path) -> None:
    for number in range(2):
        (directory / f"{number}.yaml").write_text("#" * (600 << 10))


OPEN = believing("all users may write; expected one that only root can write: chmod go-w")
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "too many": (many, "etc/a.yaml.d:0: : found more than 1000 files; expected at most 100 drop-ins for a file"),
    "too big": (big, "etc/a.yaml:0: : found more than 1 MiB in the file and its drop-ins; expected at most 1 MiB"),
    "a directory": (
        lambda directory: (directory / "x.yaml").mkdir(),
        "etc/a.yaml.d/x.yaml:0: : found a directory; expected a regular file",
    ),
    "a link": (
        lambda directory: (directory / "x.yaml").symlink_to("x.yaml"),
        "etc/a.yaml.d/x.yaml:0: : found a symbolic link; expected a regular file",
    ),
    "a link as directory": (
        lambda directory: (directory.rmdir(), directory.symlink_to("a.yaml.d")),
        "etc/a.yaml.d:0: : found a symbolic link; expected a directory of drop-ins",
    ),
    "a file as directory": (
        lambda directory: (directory.rmdir(), directory.touch()),
        "etc/a.yaml.d:0: : found a file; expected a directory of drop-ins",
    ),
    "open to all": (
        lambda directory: directory.chmod(0o777),
        f"etc/a.yaml.d:0: : found a directory that {OPEN} /etc/jobqueue.d/a.yaml.d",
    ),
    "a file that is open to all": (
        lambda directory: ((directory / "x.yaml").write_text(B), (directory / "x.yaml").chmod(0o666)),
        f"etc/a.yaml.d/x.yaml:0: : found a file that {OPEN} /etc/jobqueue.d/a.yaml.d/x.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_drop_ins_that_are_refused(jobs: Layered, case: str) -> None:
    """Their file keeps its last good jobs, others are as they are, and what is wrong has its place; it is mended."""
    make, reason = REFUSED[case]
    jobs.put("etc/a.yaml", A)
    jobs.scan()
    directory = jobs.file("etc/a.yaml.d/x").parent
    make(directory)
    jobs.put("etc/a.yaml", B)
    jobs.put("etc/b.yaml", "jobs: {b: {command: x}}")
    assert (["b.yaml: b"], [reason], {"j": "a"}) == (jobs.scan(), jobs.told(), jobs.jobs("a.yaml"))
    os.rename(directory, jobs.root / "away")
    assert (["a.yaml: j"], [], {"j": "b"}) == (jobs.scan(), jobs.told(), jobs.jobs("a.yaml"))


def test_as_many_drop_ins_as_may_be(jobs: Layered) -> None:
    """They are all taken; one more, in whatever directory, is too many."""
    jobs.put("etc/a.yaml", "jobs: {j: {command: x}}")
    for number in range(MAX_DROP_INS):
        jobs.put(f"{PLACES[number % 4]}/a.yaml.d/{number:03}.yaml", f"jobs: {{j: {{environment: {{V{number}: x}}}}}}")
    jobs.scan()
    (job,) = jobs.watch.last_good(str(jobs.path / "a.yaml"))
    assert ([], MAX_DROP_INS) == (jobs.told(), len(job.environment))
    jobs.put("run/a.yaml.d/more.yaml", "{}")
    jobs.scan()
    assert [f"found {MAX_DROP_INS + 1} drop-ins; expected at most {MAX_DROP_INS} of a file"] == [
        it.partition(": : ")[2] for it in jobs.told()
    ]


@NEEDS_ROOT
def test_a_drop_in_of_somebody_else_is_refused(jobs: Layered) -> None:
    """And so is one in a directory of somebody else's."""
    jobs.put("etc/a.yaml", A)
    drop_in = jobs.put("etc/a.yaml.d/x.yaml", B)
    for path in (drop_in, drop_in.parent):
        os.chown(path, 65534, -1)
        jobs.scan()
        assert [f"{jobs.where(str(path))}:0"] == [it.partition(": : ")[0] for it in jobs.told()]
        os.chown(path, 0, -1)
        jobs.scan()
        assert ([], {"j": "b"}) == (jobs.told(), jobs.jobs("a.yaml"))


# ── what fails ──


def again(jobs: Layered) -> Layered:
    """A later daemon's Watch on the same directories, with what the first one had accepted."""
    return Layered(jobs.root, {name: text for name, text in jobs.kept.items() if text is not None})


FAULTS = [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ESTALE]


def _fails(real: Callable[..., Any], number: int, end: str) -> Callable[..., Any]:
    def call(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path).endswith(end):
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **more)

    return call


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize(("call", "end"), [("open", "x.yaml"), ("scandir", "a.yaml.d"), ("lstat", "a.yaml.d")])
def test_a_drop_in_that_can_not_be_read_is_tried_again(
    jobs: Layered, monkeypatch: pytest.MonkeyPatch, number: int, call: str, end: str
) -> None:
    """Its file is neither without it nor broken: it has its last good jobs, also at a start, until it can be read."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("etc/a.yaml.d/x.yaml", B)
    jobs.scan()
    jobs.put("etc/a.yaml.d/x.yaml", C)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _fails(getattr(os, call), number, end))
        assert ([], {"j": "b"}, AGAIN) == (jobs.scan(), jobs.jobs("a.yaml"), jobs.watch.deadline)
        later = again(jobs)
        assert (["a.yaml: j"], {"j": "b"}, AGAIN) == (later.scan(), later.jobs("a.yaml"), later.watch.deadline)
        assert [
            f"etc/a.yaml.d{'/x.yaml' * (call == 'open')}:0: : cannot be read: {os.strerror(number)}"
        ] == later.told()
    for each in (jobs, later):
        assert (["a.yaml: j"], {"j": "c"}, []) == (each.scan(AGAIN), each.jobs("a.yaml"), each.told())
    later.watch.inbox.close()


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_directory_that_can_not_be_listed_changes_nothing(
    jobs: Layered, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    """A start has the last good jobs of all files, and nothing comes, or is another, until all can be read."""
    names = dict(zip(PLACES, "abcd", strict=True))
    for each, name in names.items():
        jobs.put(f"{each}/{name}.yaml", f"jobs: {{{name}: {{command: x}}}}")
    assert 4 == len(jobs.scan())
    for each, name in names.items():
        jobs.put(f"{each}/{name}.yaml", f"jobs: {{{name}: {{command: new}}}}")
    jobs.put("etc/e.yaml", "jobs: {e: {command: new}}")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", _fails(os.listdir, number, f"/{place}/jobqueue.d"))
        later = again(jobs)
        assert 4 == len(later.scan())
        assert ([], AGAIN, False) == (later.scan(LONGEST_WAIT), later.watch.deadline, later.watch.complete)
        assert ["x"] * 4 == [later.jobs(f"{name}.yaml")[name] for name in "abcd"]
    assert ([f"{name}.yaml: {name}" for name in "abcde"], []) == (later.scan(AGAIN), later.told())
    assert ["new"] * 5 == [later.jobs(f"{name}.yaml")[name] for name in "abcde"]
    later.watch.inbox.close()


def test_what_is_tried_again_meanwhile_is_not_forgotten(jobs: Layered, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be read is tried again once its directory, and all others, can be."""
    jobs.put("etc/a.yaml", A)
    jobs.put("run/b.yaml", "jobs: {}")
    jobs.scan()
    jobs.put("etc/a.yaml", B)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", _fails(os.open, errno.EIO, "a.yaml"))
        assert ([], AGAIN) == (jobs.scan(), jobs.watch.deadline)
        patch.setattr(os, "listdir", _fails(os.listdir, errno.EIO, "run/jobqueue.d"))
        jobs.watch.inbox.relist()
        assert ([], {"j": "a"}) == (jobs.scan(AGAIN), jobs.jobs("a.yaml"))
    assert (["a.yaml: j"], {"j": "b"}, []) == (jobs.scan(2 * AGAIN), jobs.jobs("a.yaml"), jobs.told())


def test_lost_events_cost_no_change_of_a_drop_in(jobs: Layered, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an overflow of inotify's queue all is listed, drop-ins, too, and what changed is read."""
    jobs.put("etc/a.yaml", A)
    jobs.put("etc/a.yaml.d/x.yaml", B)
    jobs.put("etc/b.yaml", "jobs: {b: {command: x}}")
    jobs.put("etc/b.yaml.d/x.yaml", "{}")
    jobs.scan()
    jobs.put("etc/a.yaml.d/x.yaml", C)
    jobs.forget_events()
    overflow = [inotify.InotifyEvent(-1, inotify.IN_Q_OVERFLOW, "")]
    monkeypatch.setattr(inotify, "events", lambda _: iter(overflow))
    assert (["a.yaml: j"], ["a.yaml"], {"j": "c"}) == (jobs.scan(), jobs.read, jobs.jobs("a.yaml"))


def test_without_a_watch_of_its_own_a_directory_of_drop_ins_is_listed(
    jobs: Layered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel gives no more watches that is said, and a look once a minute finds what changed."""
    jobs.put("etc/a.yaml", A)
    real = inotify.watch

    def few(descriptor: int, path: str, mask: int) -> int:
        if path.endswith("a.yaml.d"):
            raise OSError(errno.ENOSPC, "inotify_add_watch: No space left on device")
        return real(descriptor, path, mask)

    with monkeypatch.context() as patch:
        patch.setattr(inotify, "watch", few)
        jobs.put("etc/a.yaml.d/x.yaml", B)
        jobs.watch.inbox.relist()
        assert (["a.yaml: j"], RESCAN) == (jobs.scan(), jobs.watch.deadline)
        advice = "cannot be watched, so it is read once a minute: raise fs.inotify.max_user_watches"
        assert [f"etc:0: : {advice}"] == jobs.told()
        jobs.put("etc/a.yaml.d/x.yaml", C)
        assert (["a.yaml: j"], {"j": "c"}) == (jobs.scan(RESCAN), jobs.jobs("a.yaml"))
    assert ([], []) == (jobs.scan(2 * RESCAN), jobs.told())
    jobs.put("etc/a.yaml.d/x.yaml", B)
    assert (["a.yaml: j"], {"j": "b"}) == (jobs.scan(2 * RESCAN), jobs.jobs("a.yaml"))


def test_what_went_while_nobody_looked(jobs: Layered) -> None:
    """A drop-in, or a file that took the place of another, that is gone at a start is no longer counted."""
    jobs.put("usr/lib/a.yaml", A)
    jobs.put("etc/a.yaml", B)
    jobs.put("etc/a.yaml.d/x.yaml", "jobs: {k: {command: x}}")
    jobs.scan()
    jobs.file("etc/a.yaml").unlink()
    jobs.file("etc/a.yaml.d/x.yaml").unlink()
    later = again(jobs)
    assert (["a.yaml: j"], {"j": "a"}) == (later.scan(), later.jobs("a.yaml"))
    later.watch.inbox.close()


STEPS = st.tuples(
    st.sampled_from(["write", "delete", "mask", "relist", "wait", "restart"]),
    st.sampled_from(["etc", "usr/lib"]),
    st.sampled_from(["a.yaml", "b.yaml", "a.yaml.d/x.yaml", "a.yaml.d/y.yaml", "b.yaml.d/x.yaml"]),
    st.sampled_from(["x", "y", "xy", "!"]),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(STEPS, max_size=14))
def test_what_was_told_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str, str]]
) -> None:
    """After any changes, with and without restarts, what is in force is what a new daemon finds, where nothing is
    wrong.
    """
    jobs, mono = Layered(tmp_path_factory.mktemp("d")), 0
    for action, place, name, ids in steps:
        path = jobs.file(f"{place}/{name}")
        match action:
            case "write":
                path.unlink(missing_ok=True)
                bodies = (f"{job}: {{command: '{place}/{name}'}}" for job in ids)
                path.write_text("5" if ids == "!" else f"jobs: {{{', '.join(bodies)}}}")
            case "delete":
                path.unlink(missing_ok=True)
            case "mask":
                path.unlink(missing_ok=True)
                path.symlink_to("/dev/null")
            case "relist":
                jobs.watch.inbox.relist()
            case "wait":
                mono += LONGEST_WAIT
            case "restart":
                jobs.watch.inbox.close()
                jobs = again(jobs)
        jobs.scan(mono)
    jobs.scan(mono + LONGEST_WAIT)
    fresh = Layered(jobs.root)
    fresh.scan()
    for name in ("a.yaml", "b.yaml"):
        if not (jobs.problems() or fresh.problems()):
            assert fresh.jobs(name) == jobs.jobs(name)
        kept = jobs.kept.get(name)
        if name not in jobs.problems() and kept is not None:
            assert jobs.jobs(name) == {job.id: job.command for job in read_packed(kept, str(jobs.path / name))[0]}
    for each in (jobs, fresh):
        each.watch.inbox.close()
