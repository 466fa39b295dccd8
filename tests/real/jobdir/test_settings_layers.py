"""Places of settings that another user may write to, under a real daemon and through jobqueuectl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobqueued.base.problem import Problem
from tests.support.client import run
from tests.support.host import Host
from tests.support.users import believing


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose packages set `max_running`; all users may write in the directory that overrides it."""
    found = Host(tmp_path / "host")
    for place in ("usr/lib/jobqueued.yaml.d", "usr/local/lib"):
        (found.root / place).mkdir(parents=True)
    (found.root / "usr/lib/jobqueued.yaml.d/a.yaml").write_text("max_running: 3\n")
    (found.root / "usr/local/lib").chmod(0o777)
    yield found
    found.close()


def _directory(place: Path) -> None:
    (place / "jobqueued.yaml.d").mkdir()
    (place / "jobqueued.yaml.d/a.yaml").write_text("max_running: 7\n")


def _link(place: Path) -> None:
    (place / "jobqueued.yaml.d").symlink_to("jobqueued.yaml.d")


MADE: dict[str, Callable[[Path], object]] = {
    "a directory": _directory,
    "a file": lambda place: (place / "jobqueued.yaml.d").touch(),
    "a link to itself": _link,
    "a link to itself instead of the settings": lambda place: (place / "jobqueued.yaml").symlink_to("jobqueued.yaml"),
    "the settings": lambda place: (place / "jobqueued.yaml").write_text("max_running: 7\noperators: [nobody]\n"),
}


@pytest.mark.parametrize("made", MADE)
def test_settings_in_a_place_of_others_are_left_out(host: Host, made: str) -> None:
    """The daemon starts with the settings of other places; status, check and doctor show the place and the remedy."""
    place = host.root / "usr/local/lib"
    MADE[made](place)
    (file,) = place.iterdir()
    why = f"{file}: " + believing(
        "found a directory that all users may write; expected one that only root can write: "
        f"chmod go-w {place}; until then the settings in {place} are ignored"
    )
    host.start()
    assert 3 == host.call("Status")["max_running"]
    assert [why] == [str(Problem(**problem)) for problem in host.call("Status")["problems"]]
    assert [("warning", why)] == [(line["level"], line["text"]) for line in host.said("odd")]
    assert f"{why} (warning) [JQ521]" == run("--root", host.root, "check").stdout.splitlines()[0]
    findings = json.loads(run("--root", host.root, "doctor", "--json").stdout)["findings"]
    assert [("settings", "warning", f"{why} [JQ521]")] == [
        (it["what"], it["verdict"], it["seen"]) for it in findings if str(place) in it["seen"]
    ]
    shown = run("--root", host.root, "cat", "jobqueued.yaml").stdout
    assert f"# {host.root}/usr/lib/jobqueued.yaml.d/a.yaml\nmax_running: 3\n" == shown


def test_a_place_of_others_counts_again_after_its_remedy(host: Host) -> None:
    """The live daemon notices each chmod, and what would change; its next start reads the settings."""
    place = host.root / "usr/local/lib"
    _directory(place)
    codes = lambda: [problem["code"] for problem in host.call("Status")["problems"]]  # noqa: E731
    host.start()
    assert (3, ["JQ521"]) == (host.call("Status")["max_running"], codes())
    place.chmod(0o755)
    assert ["JQ519"] == codes()
    host.stop()
    host.start()
    assert (7, []) == (host.call("Status")["max_running"], codes())
    place.chmod(0o777)
    assert ["JQ521", "JQ519"] == codes()
    (host.root / "jobqueued.yaml").write_text("max_use: many")
    first, second = host.call("Status")["problems"]
    assert ("JQ521", False) == (first["code"], "can't start" in first["message"])
    assert ("error", True) == (second["severity"], "can't start again" in second["message"])


def test_an_empty_place_of_others_is_no_problem(host: Host) -> None:
    """Debian's group staff may write in /usr/local/lib, where usually no settings are."""
    host.start()
    assert [] == host.call("Status")["problems"]


def test_programs_ignore_settings_of_others(host: Host) -> None:
    """A time zone in a place of others changes nothing that `next` shows."""
    shown = [run("--root", host.root, "next", "--json", "-n", "1", "-e", "0 0 1 1 *").stdout]
    (host.root / "usr/local/lib/jobqueued.yaml").write_text("timezone: Asia/Kathmandu\n")
    shown.append(run("--root", host.root, "next", "--json", "-n", "1", "-e", "0 0 1 1 *").stdout)
    assert shown[0] == shown[1] != ""


def test_the_first_place_must_be_trusted(host: Host) -> None:
    """Settings that an administrator opened to others stop the daemon, with the remedy."""
    place = host.root / "jobqueued.yaml.d"
    place.mkdir()
    place.chmod(0o777)
    assert 1 == host.start(ready=False).wait(20)
    assert f"chmod go-w {place}" in host.log()
