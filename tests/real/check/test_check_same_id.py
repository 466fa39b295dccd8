"""Two job files with one id: `check` and the daemon refuse the same one, by who had the id first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.client import run
from tests.support.host import Host, wait_for

OF_X = "jobs: {x: {command: 'true'}}\n"


def refused_by_daemon(host: Host) -> set[tuple[str, str]]:
    """The files that the daemon refuses, and why."""
    return {(Path(it["file"]).name, it["message"]) for it in host.call("Status")["problems"]}


def refused_by_check(host: Host, *words: str | Path) -> tuple[set[tuple[str, str]], dict[str, Any]]:
    """Those that `check` would have refused; and its answer."""
    answer = json.loads(run("--root", host.root, "check", "--json", *words).stdout)
    found = {(Path(it["file"]).name, it["message"]) for it in answer["problems"] if it["severity"] == "error"}
    return found, answer


def settled(host: Host, *stale: str) -> set[tuple[str, str]]:
    """What the daemon refuses, once these files are."""
    wait_for(lambda: {name for name, _ in refused_by_daemon(host)} == {*stale})
    return refused_by_daemon(host)


def test_the_file_that_came_later(host: Host) -> None:
    """It is refused, though it comes first by name; also if files are named, and over a restart."""
    host.write("b.yaml", OF_X)
    host.start()
    host.write("a.yaml", OF_X)
    told = settled(host, "a.yaml")
    found, answer = refused_by_check(host)
    assert (told, 1, ["x"]) == (found, answer["refused"], [job["id"] for job in answer["jobs"]])
    jobs = host.root / "jobqueue.d"
    assert told == refused_by_check(host, jobs / "a.yaml", jobs / "b.yaml")[0]
    host.stop()
    assert told == refused_by_check(host)[0]
    host.start()
    assert told == settled(host, "a.yaml") == refused_by_check(host)[0]


def test_the_id_of_a_file_that_is_refused_itself(host: Host) -> None:
    """Its last good jobs stay in force, so another file can't have their ids; `check` lists none of them."""
    host.write("b.yaml", OF_X)
    host.start()
    host.write("b.yaml", "jobs: {x: {comand: 'true'}}\n")
    settled(host, "b.yaml")
    host.write("a.yaml", OF_X)
    told = settled(host, "a.yaml", "b.yaml")
    found, answer = refused_by_check(host)
    assert (told, 2, []) == (found, answer["refused"], answer["jobs"])


def test_files_that_came_together(host: Host) -> None:
    """The first in byte order has the id, in whatever order they are named; what is refused takes no other id."""
    host.write("C.yaml", "jobs: {x: {command: 'true'}, y: {command: 'true'}}\n")
    host.write("a.yaml", OF_X.replace("}\n", ", z: {command: 'true'}}\n"))
    host.write("b.yaml", "jobs: {z: {command: 'true'}}\n")
    host.start()
    settled(host, "a.yaml")
    jobs = host.root / "jobqueue.d"
    for words in ((), [jobs / f"{name}.yaml" for name in "baC"]):
        found, answer = refused_by_check(host, *words)
        assert {"a.yaml"} == {name for name, _ in found}
        assert {"x", "y", "z"} == {job["id"] for job in answer["jobs"]}


def test_files_elsewhere(host: Host, tmp_path: Path) -> None:
    """They may have ids of the daemon's files, in whose place they may be meant to be; two of one id are told apart."""
    host.write("b.yaml", OF_X)
    host.start()
    (tmp_path / "a.yaml").write_text(OF_X)
    assert set() == refused_by_check(host, tmp_path / "a.yaml")[0]
    (tmp_path / "b.yaml").write_text(OF_X)
    assert {"b.yaml"} == {name for name, _ in refused_by_check(host, tmp_path / "b.yaml", tmp_path / "a.yaml")[0]}
