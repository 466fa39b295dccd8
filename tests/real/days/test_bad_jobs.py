"""docs/bad-jobs.md is true: each bad job is run by a real daemon, and said to be what the table says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bad_jobs import CASES, TABLE, Case, rows, same_everywhere
from tests.support.host import Host


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What is said of all of them, run together."""
    folder = tmp_path_factory.mktemp("bad")
    for path in (folder, *folder.parents):  # jobs of other users execute files in it
        if path == Path("/tmp"):
            break
        path.chmod(0o755)
    host = Host(folder / "host")
    try:
        yield rows(host, [case for case in CASES if os.geteuid() == 0 or not case.root])
    finally:
        host.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_bad_job(case: Case, told: dict[str, str]) -> None:
    """Record, journal and `show` have the words of the table."""
    if case.root and os.geteuid():
        pytest.skip("needs root")
    assert told[case.title] in TABLE.read_text().splitlines()


@pytest.mark.parametrize("login", ["root", "u", "uid", "ui", "by", "a.b"])
def test_a_login_is_a_whole_word(login: str) -> None:
    """Whoever runs the tests is root in the table, also if the login is a part of other words."""
    said = f"stopped by {login}<br>stopped by uid 1000<br>stopped by {login}-x; {login}"
    assert f"stopped by root<br>stopped by root<br>stopped by {login}-x; {login}" == same_everywhere(
        said, Path("/none"), login
    )


def test_the_table_is_whole() -> None:
    """At least 40 kinds, each once, and none that is not tried."""
    titles = [line.split(" | ")[0].removeprefix("| ") for line in TABLE.read_text().splitlines() if "|" in line][2:]
    assert titles == [case.title for case in CASES]
    assert len(titles) >= 40
