"""The host's users and groups: a change is told once, when it is over, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.jobdir.account_files import AccountFiles
from jobqueued.model.events import Reloaded
from jobqueued.model.job import Now


@pytest.fixture
def files(tmp_path: Path) -> Iterator[AccountFiles]:
    found = AccountFiles(tmp_path)
    yield found
    found.close()


def take(files: AccountFiles, mono: int) -> None:
    for descriptor in files.descriptors():
        files.ready(descriptor, Now(0, mono))


def test_a_change_is_told_a_second_after_its_last_part(files: AccountFiles, tmp_path: Path) -> None:
    """As by useradd(8), which puts new files in place by rename, one after the other."""
    for mono, name in ((5, "passwd"), (7, "group")):
        (tmp_path / f"{name}+").write_text("x")
        os.rename(tmp_path / f"{name}+", tmp_path / name)
        take(files, mono)
        assert mono + SECOND == files.deadline
    assert [Reloaded()] == files.turn(Now(0, 7 + SECOND))
    assert None is files.deadline


def test_other_files_are_nobodys_news(files: AccountFiles, tmp_path: Path) -> None:
    """Neither their changes nor what only looks at these."""
    (tmp_path / "shadow").write_text("x")
    (tmp_path / "passwd-").write_text("x")
    take(files, 1)
    assert None is files.deadline
    (tmp_path / "passwd").write_text("x")
    take(files, 2)
    assert 2 + SECOND == files.deadline


def test_without_a_directory_there_is_nothing_to_watch(tmp_path: Path) -> None:
    """The daemon goes on."""
    assert ({}, None) == ((files := AccountFiles(tmp_path / "gone")).descriptors(), files.deadline)
