"""The page on a host of a fleet: its hosts beside a real etcd, and the way to their pages in the whole of Cockpit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd.wire import coded
from tests.support.axe import violations
from tests.support.chromium import Browser
from tests.support.cockpit import body, bus, cockpit, opened, shows
from tests.support.etcd import Member, cluster, loopback
from tests.support.fleet_agent import agents
from tests.support.host import Host, wait_for

FILE = "jobs: {tick: {command: 'true', scope: fleet}}"
HOSTILE = '<img src=x onerror="window.caught=1">\u202e'
LABEL = "<img/src=x/onerror=window.caught=2>"
_FLEET = "[...document.querySelectorAll('section')].find(it => it.innerText.startsWith('Fleet'))"
ROWS = f"{_FLEET}.querySelectorAll('tbody tr')"
HOSTS = f"[...{ROWS}].map(row => [...row.children].map(it => it.textContent))"
COUNTING = """(async () => {
    const { client, host } = await import(new URL("host.js", location));
    const call = client.call.bind(client);
    window.asked = window.refreshed = 0;
    client.call = (method, ...more) => {
        window.asked += method === "Fleet";
        window.refreshed += method === "Status";
        return call(method, ...more);
    };
    window.again = () => host.touch();
})()"""
"""Counts what the page asks for."""


@pytest.fixture(scope="module")
def member(place: Path) -> Iterator[Member]:
    """The etcd of the fleet."""
    (place / "etcd").mkdir()
    with cluster(place / "etcd", loopback(1)) as found:
        yield found.members[0]


@pytest.fixture(scope="module")
def host(place: Path, member: Member) -> Iterator[Host]:
    """A host of a fleet, in which are two others by now: one has a name and a label that are markup."""
    found = Host(place / "host")
    found.root.chmod(0o755)
    found.write("a.yaml", FILE)
    (found.root / "jobqueued.yaml").write_text(f"fleet: {{etcd: '{member.clients}', labels: [gpu, big]}}\n")
    join(member, HOSTILE, f"x:y z {LABEL} held")
    with agents(place, member.clients, "other"):
        found.start()
        wait_for(lambda: len(found.call("Fleet")["hosts"]) == 3)
        wait_for(lambda: any(it["labels"] == ["gpu", "big"] for it in found.call("Fleet")["about"]))
        yield found
        found.close()


def join(member: Member, name: str, value: str) -> None:
    """Have a host in etcd."""
    member.ask("kv/put", {"key": coded(f"{ROOT}hosts/{name}"), "value": coded(value)})


def shows_hosts(chromium: Browser, *rows: list[str]) -> None:
    """Wait until the page lists these."""
    chromium.until(
        f"JSON.stringify({HOSTS}) === {json.dumps(json.dumps(rows, ensure_ascii=False, separators=(',', ':')))}"
    )


@pytest.mark.parametrize(("dark", "width"), [(False, 1100), (True, 1100), (False, 320)])
def test_its_hosts(chromium: Browser, address: str, host: Host, dark: bool, width: int) -> None:
    """This one is marked, and first; who is on hold is said; what others wrote is text; nothing is in anybody's way."""
    own = host.call("Fleet")["host"]
    opened(chromium, address, "jobs", dark=dark, width=width)
    shows(chromium, "Fleet fleet")
    others = [[HOSTILE[:-1] + "\ufffd", LABEL, "on hold"], ["other", "–", "–"]]
    shows_hosts(chromium, [f"{own} (this host)", "gpu, big", "–"], *others)
    host.call("Hold")
    shows_hosts(chromium, [f"{own} (this host)", "gpu, big", "on hold"], *others)
    host.call("Release")
    shows_hosts(chromium, [f"{own} (this host)", "gpu, big", "–"], *others)
    assert chromium.tell("window.caught === undefined")
    assert 0 == chromium.tell("document.querySelectorAll('tbody button').length")  # outside of Cockpit's shell
    assert [] == violations(chromium)
    assert chromium.tell("document.documentElement.scrollWidth <= innerWidth")
    assert [] == chromium.said


def test_when_they_are_asked_for(chromium: Browser, address: str, member: Member) -> None:
    """Not with each answer, but when their number is another, or a minute later; of many the first are listed."""
    opened(chromium, address, "jobs")
    chromium.until(f"{ROWS}.length === 3")
    chromium.tell(COUNTING)
    for count in range(1, 4):
        chromium.tell("again()")
        chromium.until(f"refreshed >= {count}")
    assert 0 == chromium.tell("asked")
    for number in range(20):
        join(member, f"z{number:02}", "x:y z gpu -")
    chromium.until("again() || document.body.innerText.includes('3 more are not shown.')")
    assert 20 == chromium.tell(f"{ROWS}.length")
    join(member, "other-labels", "x:y z gpu -")
    chromium.until("again() || document.body.innerText.includes('4 more are not shown.')")
    join(member, "other-labels", "x:y z cpu -")
    asked = chromium.tell("asked")
    chromium.tell("const now = performance.now.bind(performance); performance.now = () => now() + 60000; again()")
    chromium.until(f"asked === {asked + 1}")
    shows(chromium, "cpu")
    for name in ("other-labels", *(f"z{number:02}" for number in range(20))):
        member.ask("kv/deleterange", {"key": coded(f"{ROOT}hosts/{name}")})
    chromium.until(f"again() || {ROWS}.length === 3")


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("allowed", [True, False])
def test_the_way_to_another_host(chromium: Browser, place: Path, packages: Path, allowed: bool) -> None:
    """A press opens the same page there, by what Cockpit knows of that host; no way leads to this one, nor to markup,
    nor anywhere in a shell that stays on its host.
    """
    settings = place / f"settings-{allowed}" / "cockpit"
    settings.mkdir(parents=True)
    (settings / "cockpit.conf").write_text(f"[WebService]\nAllowMultiHost={'yes' if allowed else 'no'}\n")
    where = str(settings.parent)
    with bus(place) as address, cockpit(packages, DBUS_SYSTEM_BUS_ADDRESS=address, XDG_CONFIG_DIRS=where) as own:
        shell = own.partition("/cockpit/")[0]
        chromium.look(1300, 800)
        chromium.open(f"{shell}/@localhost/jobqueued")
        inside = "document.querySelector('iframe[name*=jobqueued]')?.contentDocument"
        chromium.until(f"[...{inside}?.querySelectorAll('tbody th') ?? []].some(it => it.textContent === 'other')")
        buttons = f"[...{inside}.querySelectorAll('tbody button')]"
        assert (["other"] if allowed else []) == chromium.tell(f"{buttons}.map(it => it.textContent)")
        if allowed:
            chromium.tell(f"{buttons}[0].click()")
            chromium.until("location.pathname === '/@other/jobqueued'")
            shows(chromium, "unknown host")


def test_a_fleet_that_can_not_be_asked(chromium: Browser, address: str, place: Path, member: Member) -> None:
    """That is said, with the reason to whoever may know it; the hosts are there again when it can."""
    opened(chromium, address, "jobs")
    chromium.until(f"{ROWS}.length === 3")
    member.kill()
    try:
        shows(chromium, f"It is unreachable: {member.clients}: ")
        chromium.until(f"{ROWS}.length === 0")
        assert [] == violations(chromium)
        with cockpit(place / "data", uid=65534) as own:
            opened(chromium, own, "jobs")
            shows(chromium, "It is unreachable: the cause is not shown")
            assert member.clients not in body(chromium)
    finally:
        member.start()
        member.wait()
    opened(chromium, address, "jobs")
    chromium.until(f"{ROWS}.length >= 2")
