"""Job files of users: whatever fails or dies at which step, a file is the old one or the new one; names tell whose."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.filenames import named
from jobqueued.child.contract import atomic_file
from jobqueued.jobdir import user_files
from jobqueued.jobdir.user_files import NONE, UserFile, UserFiles, fits, jobs_of_text, of_state, stamp_of
from jobqueued.model.users import Owner

OLD, NEW = b"# old\n", b"# new, and longer\n"
FILE = UserFile(Owner(1000, "alice"), "backup")
STEPS = ("mkdir", "open", "fchmod", "write", "fsync", "close", "rename", "unlink", "fstat")


class Steps:
    """The system calls of a file's writing: the nth fails, or is the last thing before the death of who makes it."""

    def __init__(self, nth: int, fault: Callable[[], None]) -> None:
        self.nth, self.fault, self.made = nth, fault, list[str]()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in STEPS:
            return real

        def step(*args: Any, **kwargs: Any) -> Any:
            self.made.append(name)
            if len(self.made) == self.nth:
                self.fault()
            return real(*args, **kwargs)

        return step


def changed(files: UserFiles) -> None:
    """A change of the old text, by the new one or to none, with all that belongs to it."""
    files.write(FILE, NEW)
    files.made_durable()


def removed(files: UserFiles) -> None:
    files.remove(FILE)
    files.made_durable()


def kept(files: UserFiles) -> bytes:
    return files.read(FILE)[0]


def broken(number: int) -> Callable[[], None]:
    def fault() -> None:
        raise OSError(number, os.strerror(number))

    return fault


@pytest.mark.parametrize("act", [changed, removed])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[UserFiles], None], number: int
) -> None:
    """It is said, and the file is as before or as it was to be; nothing half is left beside it."""
    nth, outcomes = 1, set[bytes]()
    while True:
        files = UserFiles(tmp_path / str(nth))
        files.write(FILE, OLD)
        steps = Steps(nth, broken(number))
        with monkeypatch.context() as patch:
            patch.setattr(atomic_file, "os", steps)
            patch.setattr(user_files, "os", steps)
            failures = list[int | None]()
            try:
                act(files)
            except OSError as error:
                failures.append(error.errno)
        left = os.listdir(files.directory)
        assert left in ([FILE.stored_as], [])
        assert kept(files) in (OLD, NEW, b"")
        assert failures in ([], [number])
        assert not failures or kept(files) == OLD, f"{steps.made}: changed, and said to have failed"
        outcomes.add(kept(files))
        if len(steps.made) < nth:
            break
        nth += 1
    assert (True, 2) == (OLD in outcomes, len(outcomes))


@pytest.mark.parametrize("act", [changed, removed])
def test_a_kill_at_any_step(tmp_path: Path, act: Callable[[UserFiles], None]) -> None:
    """The next daemon finds the old text or the new one, and clears away what was half."""
    nth, outcomes = 1, list[bytes]()
    while True:
        files = UserFiles(tmp_path / str(nth))
        files.write(FILE, OLD)
        pid = os.fork()
        if not pid:
            steps = Steps(nth, lambda: os.kill(os.getpid(), signal.SIGKILL))
            atomic_file.os = user_files.os = steps  # type: ignore[attr-defined]
            with suppress(BaseException):
                act(files)
            os._exit(0 if len(steps.made) < nth else 1)
        over = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        again = UserFiles(files.directory)
        assert kept(again) in (OLD, NEW, b"")
        assert os.listdir(files.directory) in ([FILE.stored_as], [])
        outcomes.append(kept(again))
        if over:
            break
        nth += 1
    assert (OLD, outcomes[-1]) == (outcomes[0], NEW if act is changed else b"")
    assert outcomes == sorted(outcomes, key=lambda text: text != OLD), "new, and then old again"


def test_a_file_is_private_and_has_a_stamp(tmp_path: Path) -> None:
    """It is the daemon's own, for nobody else to read."""
    files = UserFiles(tmp_path / "users")
    assert ((b"", NONE), [], False) == (files.read(FILE), files.all(), files.remove(FILE))
    files.write(FILE, OLD)
    assert ((OLD, stamp_of(OLD)), [FILE]) == (files.read(FILE), files.all())
    modes = [os.stat(path).st_mode & 0o7777 for path in (files.directory, files.path(FILE))]
    assert ([0o700, 0o600], True, []) == (modes, files.remove(FILE), files.all())


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/:\0"), min_size=1, max_size=40),
       st.integers(0, 2**32 - 1), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))  # fmt: skip
def test_the_name_of_a_stored_file_tells_whose_it_is(name: str, uid: int, file: str) -> None:
    """Whatever user it is of: it is read as it was meant, or can't be stored."""
    asked = UserFile(Owner(uid, name), file)
    assert UserFile.parse(asked.stored_as) == asked or not fits(asked)
    assert not fits(asked) or asked == of_state(f"users/{asked.stored_as}")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "a b", "ä", "x" * 65, "x\n", "-x", "a:b", "a+b"])
def test_names_that_no_file_has(name: str) -> None:
    """They are refused, with what is accepted."""
    with pytest.raises(ValueError, match="expected a name such as backup"):
        named(name)


def test_names_with_a_suffix() -> None:
    """That of a job file may be given."""
    assert ["x", "x", "x", "x.txt"] == [named(text) for text in ("x", "x.yaml", "x.yml", "x.txt")]


def test_a_text_of_before_is_read_by_the_limits_of_before() -> None:
    """An audit knows its jobs, whatever is refused by now."""
    text = b"jobs: {x: {command: 'true', every: 1s, priority: 9, notify: {email: bob}}}"
    jobs = jobs_of_text(FILE, text, "UTC", "")
    assert jobs is not None
    assert ["alice/x"] == [job.id for job in jobs]
    assert None is jobs_of_text(FILE, b"jobs: {x: {}}", "UTC", "")
    assert [None] * 3 == [of_state(name) for name in ("x.yaml", "cron.d/x", "crontabs/alice")]


def test_what_is_written_is_durable_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text before its name, and then the name: a host that goes down in between has one text or the other."""
    files, steps = UserFiles(tmp_path), Steps(0, broken(0))
    monkeypatch.setattr(atomic_file, "os", steps)
    monkeypatch.setattr(user_files, "os", steps)
    changed(files)
    made = [step for step in steps.made if step in ("write", "fsync", "rename")]
    assert ["write", "fsync", "rename", "fsync"] == made
