"""The page in the whole of Cockpit: its place there, rights that change, hours of being open, and its pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.chromium import Browser
from tests.support.cockpit import bus, cockpit, opened, shows
from tests.support.host import Host
from tests.support.pictures import check_picture

FILE = """\
jobs:
  nightly-backup:
    command: echo 17 files; sleep 600
    schedule: '0 2 * * *'
    locks: [tape]
    resource_limits: {memory: 64M}
  rotate-logs: {command: 'echo rotated', schedule: '@daily'}
  import-sales: {command: 'echo no network >&2; exit 3', schedule: '0 4 * * *'}
  report: {command: 'true', dependencies: [import-sales]}
  verify-tape: {command: 'true', locks: [tape], schedule: '0 6 * * sun'}
"""
HOUR = 3600
"""Updates of the page, one a second."""
FASTER = 60
PAGE = 50
"""Runs that a view lists at most: further ones take the place of others."""
NEWS = f"""(async () => {{
    const real = window.setTimeout;
    window.setTimeout = (act, after, ...more) => real(act, after >= 100 ? after / {FASTER} : after, ...more);
    const {{ host }} = await import(new URL("host.js", location));
    let last = host.status;
    window.updates = 0;
    setInterval(() => {{
        host.changed.add("nightly-backup@1");
        host.touch();
        if (host.status !== last) window.updates += 1;
        last = host.status;
    }}, 4);
}})()"""
"""Lets the page ask without an end, so much sooner after an answer than it would."""


@pytest.fixture(scope="module", autouse=True)
def history(host: Host) -> None:
    """Some history, and a live run, and one that waits for it."""
    for job in ("rotate-logs", "import-sales", "rotate-logs"):
        host.wait(host.run(job))
    host.run("nightly-backup")
    host.run("verify-tape")


def test_in_the_shell(chromium: Browser, place: Path, packages: Path) -> None:
    """The menu has an entry, which opens the page; what is looked for there is found, in another language too."""
    with bus(place) as address, cockpit(packages, DBUS_SYSTEM_BUS_ADDRESS=address) as own:
        shell = own.partition("/cockpit/")[0]
        chromium.look(1300, 800)
        chromium.open(f"{shell}/")
        chromium.tell("document.cookie = 'CockpitLang=de-de; path=/'; localStorage.setItem('cockpit.lang', 'de-de')")
        chromium.open(f"{shell}/@localhost/jobqueued")
        entry = "[...document.querySelectorAll('nav a')].find(it => it.innerText.trim() === 'Jobs')"
        chromium.until(entry)
        inside = "document.querySelector('iframe[name*=jobqueued]')?.contentDocument?.body?.innerText ?? ''"
        chromium.until(f"({inside}).includes('nightly-backup') && ({inside}).includes('Nächster Start')")
        box = "document.querySelector('input[type=search], input[placeholder]')"
        chromium.tell(f"{box}.focus()")
        chromium.call("Input.insertText", text="warteschlange")
        chromium.until("document.querySelector('nav').innerText.includes('Enthält: queue')")
        chromium.tell("document.cookie = 'CockpitLang=; path=/; max-age=0'; localStorage.removeItem('cockpit.lang')")


def test_rights_that_change(chromium: Browser, place: Path, packages: Path) -> None:
    """Who gets administrative access, or gives it up, sees the page anew, as channels keep the rights of old."""
    other = packages / "cockpit" / "rights"
    other.mkdir()
    spawned = {"privileged": True, "label": "test", "spawn": ["cockpit-bridge", "--privileged"]}
    (other / "manifest.json").write_text(json.dumps({"bridges": [spawned]}))
    with bus(place, 65534) as address, cockpit(packages, 65534, DBUS_SYSTEM_BUS_ADDRESS=address) as own:
        opened(chromium, own, "jobs")
        for act, arguments in (("Start", '["test"]'), ("Stop", "[]")):
            chromium.tell(
                "void cockpit.dbus(null, {bus: 'internal'})"
                f".call('/superuser', 'cockpit.Superuser', '{act}', {arguments})"
            )
            chromium.event("Page.loadEventFired")
            chromium.until("document.querySelector('#host strong')")
            shows(chromium, "rotate-logs")


@pytest.mark.parametrize(
    ("name", "view", "width", "dark"),
    [("jobs", "jobs", 1100, False), ("runs-dark", "runs", 1100, True), ("narrow", "runs", 360, False)],
)
def test_pictures(chromium: Browser, packages: Path, name: str, view: str, width: int, dark: bool) -> None:
    """What docs/cockpit.md shows, in light, dark and narrow; before there are hundreds of runs."""
    with cockpit(packages) as own:
        opened(chromium, own, view, width=width, dark=dark)
        chromium.until("[...document.querySelectorAll('section:not([hidden]) tbody')].every(it => it.children.length)")
        check_picture(chromium, f"cockpit/{name}")


def _weight(chromium: Browser) -> dict[str, float]:
    """What the page holds after a collection: bytes, nodes, listeners."""
    chromium.call("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in chromium.call("Performance.getMetrics")["metrics"]}
    return {name: found[name] for name in ("JSHeapUsedSize", "Nodes", "JSEventListeners")}


@pytest.mark.parametrize(
    ("view", "updates"), [("runs", HOUR), ("jobs", 600), ("run/nightly-backup@1", 600), ("job/rotate-logs", 600)]
)
def test_hours(chromium: Browser, packages: Path, host: Host, view: str, updates: int) -> None:
    """News leave nothing in the page: what it holds after an hour of them it held after a third, at the least of some
    looks, as what is under way when one looks is there too.
    """
    for _ in range(PAGE):
        host.wait(host.run("rotate-logs"))
    with cockpit(packages) as own:
        chromium.call("Performance.enable")
        opened(chromium, own, view)
        chromium.tell(NEWS)
        weights = []
        for number in range(1, 13):
            host.run("rotate-logs")
            chromium.until(f"window.updates >= {number * updates // 12}")
            weights.append(_weight(chromium))
    before, after = ({name: min(it[name] for it in some) for name in some[0]} for some in (weights[2:6], weights[8:]))
    assert all(after[name] <= 1.1 * before[name] + 50 for name in before), weights
