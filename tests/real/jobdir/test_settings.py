"""config: where things are, and what jobqueued.yaml says."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import pytest

from jobqueued.base.instants import DAY, MINUTE, SECOND, to_instant
from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.peers import Access, Peer
from jobqueued.ctl.past import due_changes
from jobqueued.jobfile.keys.settings_keys import SETTINGS_KEYS
from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.scopes import Locality
from jobqueued.model.fleet import FleetSettings
from jobqueued.model.job import Escalation
from jobqueued.model.saved import DueChange
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import (
    OPERATORS,
    Retention,
    Settings,
    capacity,
    host_timezone,
    limits_of,
    read_settings,
)
from tests.support import REPO
from tests.support.client import run as client
from tests.support.host import Host

ROOT = Path("/r")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"), ("'[::1]:80'", "[::1]:80"), ("'[0:0::1]:80'", "[::1]:80"),
        ("'[::ffff:127.0.0.1]:80'", "127.0.0.1:80"), ("'[fe80::1%eth0]:80'", "[fe80::1]:80"),
        ("127.0.0.1", None), ("127.1:80", None), ("localhost:80", None), ("'::1:80'", None), ("127.0.0.1:0", None),
        ("127.0.0.1:65536", None), ("'[127.0.0.1]:80'", "127.0.0.1:80"), ("'[::1]'", None), ("1.2.3.٤:80", None),
    ],
)  # fmt: skip
def test_addresses_that_users_notices_may_reach(text: str, found: str | None, tmp_path: Path) -> None:
    """They are read as connections spell them, an address and its port; what is neither is refused with an example."""
    (path := tmp_path / "jobqueued.yaml").write_text(f"users: {{reach: [{text}]}}\n")
    config, problems = read_settings(path)
    assert (found is None) == bool(problems)
    assert found is None or (found,) == config.users.reach
    assert found is not None or "expected an address with a port such as 127.0.0.1:8080" in str(problems[0])


@pytest.mark.parametrize("key", ["memory", "tasks"])
def test_a_default_limit_of_users_can_be_lifted(tmp_path: Path, key: str) -> None:
    """`unlimited` is a value of its own, which a job of the user may have, too."""
    (path := tmp_path / "jobqueued.yaml").write_text(f"users: {{caps: {{{key}: unlimited}}}}\n")
    config, problems = read_settings(path)
    assert ({key: None}, []) == (config.users.caps, problems)


def test_the_systems_paths() -> None:
    """The system's daemon lives where the design says."""
    expected = ["/etc/jobqueued.yaml", "/etc/jobqueue.d", "/var/lib/jobqueue", "/run/jobqueue", "/var/log/jobqueue"]
    expected += ["/run/systemd/journal/socket"]
    paths = Paths.system()
    assert expected == [
        str(path) for path in (paths.config, paths.jobs, paths.state, paths.run, paths.logs, paths.journal)
    ]


def test_a_root_holds_everything() -> None:
    """Below a root there is one place for each thing."""
    names = ("jobqueued.yaml", "jobqueue.d", "state", "run", "logs", "journal")
    below = ("run", "usr/local/lib", "usr/lib")
    more = {"more_config": "jobqueued.yaml", "more_jobs": "jobqueue.d"}
    others = {key: tuple(ROOT / place / name for place in below) for key, name in more.items()}
    expected = Paths(*(ROOT / name for name in names), host=ROOT, **others)
    assert expected == Paths.under(ROOT)


def test_options_override_the_root() -> None:
    """A single option wins over the root, and over the system's path without one."""
    assert Paths.under(ROOT).state == Paths.chosen(ROOT, jobs=Path("/j"), state=None).state
    assert Path("/j") == Paths.chosen(ROOT, jobs=Path("/j"), state=None).jobs
    assert Paths.system() == Paths.chosen(None)


def test_sockets_and_runs_are_below_run() -> None:
    """The sockets, and the runs of this boot, are in the run directory."""
    paths = Paths.under(ROOT)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert [ROOT / "run/control", ROOT / "run/launcher", ROOT / "run/runs" / boot] == [
        paths.control,
        paths.launcher,
        paths.runs,
    ]


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    """Without a file, and with an empty one, everything has its default."""
    (tmp_path / "empty").write_text("# nothing\n")
    for name in ("missing", "empty"):
        assert (Settings(), []) == read_settings(tmp_path / name)
    config = Settings()
    assert (None, host_timezone(), Retention(100, 90 * DAY, 1 << 30)) == (
        config.max_running,
        config.zone,
        config.retention,
    )


def test_the_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    """The jobqueued.yaml that is installed changes nothing."""
    shutil.copy(Path(__file__).parents[3] / "etc/jobqueued.yaml", tmp_path)
    assert (Settings(), []) == read_settings(tmp_path / "jobqueued.yaml")


def test_settings_are_read(tmp_path: Path) -> None:
    """Each setting is read with the job files' types; what is left out keeps its default."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text("""\
max_running: 8
timezone: Asia/Tokyo
retention: {runs: 5, age: 1d}
resources: {gpu: 2, license: 5, cpu: 1.5, memory: 16G}
reserve: {cpu: 50%, memory: 1G}
escalation: {points: 5}
tags: {nightly: {live: 4}, "2": {live: 1}}
operators: [wheel]
readers: [adm, no-such-group]
""")
    expected = Settings(
        max_running=8,
        timezone="Asia/Tokyo",
        retention=Retention(5, DAY, 1 << 30),
        resources={"gpu": 2, "license": 5, "cpu": 1500, "memory": 16 << 30},
        reserve={"cpu": 500, "memory": 1 << 30},
        escalation=Escalation(points=5, every=MINUTE),
        tags={"nightly": 4, "2": 1},
        operators=("wheel",),
        readers=("adm", "no-such-group"),
    )
    assert (expected, []) == read_settings(file)


def test_the_file_may_change(host: Host) -> None:
    """What becomes of it after the start is told by `status` and `reload`: with one that is refused none starts."""
    file = host.root / "jobqueued.yaml"
    file.write_text("keep_free: 999T\n")
    host.start()
    status = host.call("Status")
    assert (["1 problem affects the daemon"], []) == (status["unwell"], status["problems"])
    assert "999 TiB must stay free (keep_free in jobqueued.yaml): no output is saved" in status["troubles"][0]
    file.write_text("keep_free: 0\n")
    (changed,) = host.call("Status")["problems"]
    assert ("warning", str(file)) == (changed["severity"], changed["file"])
    restart = f"stop it, then start it again with `jobqueued --root {host.root}"
    assert restart in changed["message"], "a daemon below a root is no unit of systemd"
    file.write_text("keep_fre: 0\n")
    status = host.call("Status")
    assert ["1 problem affects the daemon", "1 file has errors"] == status["unwell"]
    assert "jobqueued can't start again with this file" in status["problems"][0]["message"]
    shown = client("--root", host.root, "reload")
    assert (1, True) == (shown.returncode, f"{file}:1:1: keep_fre: " in shown.stdout)
    file.write_text("keep_free: 999T # as before\n")
    assert [] == host.call("Reload")["problems"] == host.call("Status")["problems"]


def test_a_rule_names_an_address(tmp_path: Path) -> None:
    """Without one it would do nothing, and seem to."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text("notify:\n  - {on: failure, email: a@example.org}\n  - {jobs: x, quiet: 22:00-07:00}\n")
    (problem,) = read_settings(file)[1]
    said = f"{file}:3:5: notify[1]: found no recipient; expected an address as well: "
    assert str(problem).startswith(said)


def test_groups_are_found_by_name() -> None:
    """Who may act and see hangs on groups by name; of one that is not there it is said, unless it is the default."""
    mine = grp.getgrgid(os.getegid()).gr_name
    access, troubles = Access.of(Settings(operators=(mine,), readers=(mine, "no-such-group"), notifier="daemon"))
    daemon = pwd.getpwnam("daemon").pw_uid
    assert Access(frozenset({os.getegid()}), frozenset({os.getegid()}), daemon) == access
    assert [
        "readers of jobqueued.yaml: this host has no group no-such-group; add it, and restart jobqueued"
    ] == troubles
    assert ([], -1) == (Access.of(Settings())[1], Access.of(Settings(notifier="no-such-user"))[0].notifier)
    ranks = [access.rank(Peer(uid, frozenset(gids))) for uid, gids in ((0, ()), (7, (os.getegid(), 9)), (7, (9,)))]
    assert [Rank.ROOT, Rank.OPERATOR, Rank.STRANGER] == ranks
    assert Rank.READER == access.rank(Peer(daemon, frozenset({os.getegid()}))), "who sends notices acts on nothing"


def test_every_setting_is_read() -> None:
    """Every key with an effect has its field, and every field its key."""
    assert {key.name for key in SETTINGS_KEYS.values() if not key.planned} == {field.name for field in fields(Settings)}


def documented() -> list[str]:
    """Each default that jobqueued.yaml(5) tells, as the line that says it."""
    keys = [key for key in SETTINGS_KEYS.values() if not key.planned]
    lines = [f"{key.name}: {key.default}" for key in keys if key.default]
    below = [(name, it) for name in ("retention", "users") for it in SETTINGS_KEYS[name].type.keys.values()]
    return lines + [f"{name}: {{{it.name}: {it.default}}}" for name, it in below if it.default]


@pytest.mark.parametrize("line", documented())
def test_a_documented_default_is_the_real_one(tmp_path: Path, line: str) -> None:
    """Who writes it into the file changes nothing."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text(f"{line}\n")
    assert (Settings(), []) == read_settings(file)


def test_there_are_defaults() -> None:
    """Those of keys, and of keys below them."""
    assert {"max_running: none", "retention: {runs: 100}", "users: {live: 32}"} <= {*documented()}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (Settings(), {"cpu": 4000, "memory": 8 << 30}),
        (Settings(reserve={"cpu": 500, "memory": 1 << 30}), {"cpu": 3500, "memory": 7 << 30}),
        (Settings(reserve={"cpu": 9000, "memory": 9 << 30}), {"cpu": 0, "memory": 0}),
        (Settings(resources={"cpu": 1000, "gpu": 2}), {"cpu": 1000, "memory": 8 << 30, "gpu": 2}),
        (Settings(resources={"memory": 1 << 30}, reserve={"memory": 1 << 30}), {"cpu": 4000, "memory": 1 << 30}),
    ],
    ids=["host", "reserve", "too-much", "told", "told-and-reserve"],
)
def test_what_jobs_have(config: Settings, found: dict[str, int]) -> None:
    """Of cpu and memory jobs have what the host has without the reserve, or what is written; of all else what is."""
    assert found == capacity(config, cores=4, memory=8 << 30)


def test_the_default_sender_is_a_user_of_the_package() -> None:
    """systemd-sysusers makes the user as which notices are sent, in the group of the operators, who may read output."""
    kinds = [line.split()[:3] for line in (REPO / "systemd/sysusers.d/jobqueue.conf").read_text().splitlines()]
    assert ["u", Settings().notifier, "-"] in kinds  # with a group of its name
    assert (Settings().notifier,) == OPERATORS


def test_the_agent_is_a_user_of_the_package() -> None:
    """systemd-sysusers makes it: another than who sends notices, as the key of the host is not for those."""
    unit = (REPO / "systemd/jobqueued-fleet.service").read_text().splitlines()
    (user,) = (line.removeprefix("User=") for line in unit if line.startswith("User="))
    kinds = [line.split()[:3] for line in (REPO / "systemd/sysusers.d/jobqueue.conf").read_text().splitlines()]
    assert ["u", user, "-"] in kinds
    assert user not in (Settings().notifier, *OPERATORS)


def test_a_host_is_in_a_fleet(tmp_path: Path) -> None:
    """Of its fleet the members of etcd are needed, as URLs with a port; all else has the default that is documented."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text("fleet: {etcd: [https://A.example.org, 'https://[2001:db8::1]:4001', https://10.0.0.3]}\n")
    config, problems = read_settings(file)
    members = ("https://a.example.org:2379", "https://[2001:db8::1]:4001", "https://10.0.0.3:2379")
    assert (Settings(fleet=FleetSettings(etcd=members)), []) == (config, problems)
    keys = SETTINGS_KEYS["fleet"].type.keys.values()
    defaults = "".join(f", {key.name}: {key.default}" for key in keys if key.default)
    assert ", name: fleet, timezone: UTC, lock_grace: 60s, resources: {}" == defaults
    file.write_text(f"fleet: {{etcd: http://127.0.0.1{defaults}}}\n")
    assert (Settings(fleet=FleetSettings(etcd=("http://127.0.0.1:2379",))), []) == read_settings(file)


def test_all_that_is_told_of_a_fleet_is_read(tmp_path: Path) -> None:
    """What is the same on its hosts, and the files and credentials of TLS; the scheduler is told the name."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text("""\
fleet:
  etcd: http://localhost:4001
  name: web
  timezone: Asia/Tokyo
  lock_grace: 5m
  authority: /etc/jobqueued/authority.pem
  certificate: host.pem
  key: host.key
""")
    fleet = FleetSettings(
        etcd=("http://localhost:4001",), name="web", timezone="Asia/Tokyo", lock_grace=5 * MINUTE,
        authority="/etc/jobqueued/authority.pem", certificate="host.pem", key="host.key",
    )  # fmt: skip
    config, problems = read_settings(file)
    assert (Settings(fleet=fleet), []) == (config, problems)
    assert ["web", ""] == [limits_of(it, "a", [0], 1 << 30, has_slurm=False).fleet for it in (config, Settings())]


def test_files_are_read_by_the_fleet(host: Host) -> None:
    """The daemon, commands without it, and those that read a former text agree on when a job of the fleet is due."""
    text = "jobs: {tick: {command: 'true', schedule: H H * * *, spread: 1d, scope: fleet}}\n"
    fleet = FleetSettings(etcd=("http://127.0.0.1:2379",), name="web", timezone="Asia/Tokyo")
    (job,), _ = read_packed(text.encode(), "f", Locality(fleet=fleet))
    host.write("a.yaml", text)
    (host.root / "jobqueued.yaml").write_text("fleet: {etcd: http://127.0.0.1, name: web, timezone: Asia/Tokyo}\n")
    host.start()
    answer = host.call("Describe", job="tick")
    told, listed = answer["definition"], answer["job"]
    assert ("fleet", "Asia/Tokyo") == (listed["scope"], listed["timezone"])
    assert ("Asia/Tokyo", "fleet", job.offset) == (told["timezone"], told["scope"], round(told["offset"] * SECOND))
    up = client("--root", host.root, "next", "tick", "--json")
    host.stop()
    for shown in (up, client("--root", host.root, "next", "tick", "--json")):
        first = to_instant(datetime.fromisoformat(json.loads(shown.stdout)["next"][0]))
        assert [first] == job.next_starts(first - 1, 1)
    change = DueChange("file", "a.yaml", 0, 0, timezone="UTC", text=text.encode())
    (again,) = due_changes.reader(Paths.under(host.root))(change) or ()
    assert (job.offset, job.timezone, job.triggers) == (again.offset, again.timezone, again.triggers)


MEMBER = (
    "the URL of a member such as https://etcd-1.example.org:2379, or for a member on this host http://127.0.0.1:2379"
)

BAD = {
    "fleet: {}": "1:8: fleet: found an empty mapping; expected its `etcd` as well",
    "fleet: {etcd: https://a, name: Web}": "1:32: fleet.name: found 'Web'; expected a name such as db-1: up to 64 "
    "characters of a-z 0-9 . _ -, starting with a letter or digit",
    "fleet: {etcd: http://db1:2379}": "1:15: fleet.etcd: found 'http://db1:2379'; expected https://db1:2379 "
    f"({MEMBER}, or a list of them)",
    "fleet: {etcd: http://127.0.0.1.example.org}": "1:15: fleet.etcd: found 'http://127.0.0.1.example.org'; expected "
    f"https://127.0.0.1.example.org ({MEMBER}, or a list of them)",
    "fleet: {etcd: https://db1/}": f"1:15: fleet.etcd: found 'https://db1/'; expected https://db1 ({MEMBER}, or a "
    "list of them)",
    "fleet: {etcd: 'https://a, https://b, https://c'}": "1:15: fleet.etcd: found 'https://a, https://b, https://c'; "
    f"expected [https://a, https://b, https://c] ({MEMBER}, or a list of them)",
    "fleet: {etcd: [https://db1:0]}": f"1:16: fleet.etcd[0]: found 'https://db1:0'; expected {MEMBER}",
    "fleet: {etcd: https://me:secret@db1}": "1:15: fleet.etcd: found a user in the URL of a member; expected a URL "
    "without a user; `certificate` identifies this host",
    "fleet: {etcd: [https://a, https://b]}": "1:15: fleet.etcd: found two members; expected one, three or five "
    "members, because two can do nothing as soon as one of them stops",
    "fleet: {etcd: [https://a, https://A:2379, https://b]}": "1:15: fleet.etcd: found https://a:2379 twice; expected "
    "each member once",
    f"fleet: {{etcd: [{', '.join(f'https://{n}' for n in range(10))}]}}": "1:15: fleet.etcd: found 10 members; "
    "expected at most 9",
    "fleet: {etcd: https://a, lock_grace: 29s}": "1:38: fleet.lock_grace: found '29s'; expected a duration such as "
    "90s, 5m or 2h, from 30s to 1d",
    "fleet: {etcd: https://a, resources: {cpu: 2}}": "1:43: fleet.resources: found cpu: 2000; expected a lock by its "
    "name",
    "fleet: {etcd: https://a, resources: {license: 1001}}": "1:47: fleet.resources: found license: 1001; expected at "
    "most 1000",
    "fleet: {etcd: https://a, certificate: /a.pem}": "1:8: fleet: found `certificate` alone; expected its `key` as "
    "well",
    "fleet: {etcd: https://a, key: a.key}": "1:8: fleet: found `key` alone; expected its `certificate` as well",
    "fleet: {etcd: https://a, authority: ca/a.pem}": "1:37: fleet.authority: found 'ca/a.pem'; expected an absolute "
    "path such as /etc/jobqueued/host.pem, or the name of a credential of jobqueued-fleet.service",
    "mail: {smtp: 'smtp://me@h:25'}": "1:7: mail: found a user in `smtp` without a password; expected its "
    "`password_file` as well",
    "mail: {smtp: 'smtp://me:x@h', starttls: never}": "1:7: mail: found a user in `smtp` with `starttls: never`; "
    "expected `starttls: required`, or smtps://, because passwords are sent only over TLS",
    "mail: {smtp: 'smtp://h:99999'}": "1:14: mail.smtp: found a value that is not shown because it may be a "
    "secret; expected a URL such as smtp://localhost:25 or smtps://user@mail.example.org:465",
    "heartbeat: {every: 1m}": "1:12: heartbeat: found a mapping; expected its `url` as well",
    "heartbeat: {url: 'https://h/x', every: 5s}": "1:40: heartbeat.every: found '5s'; expected a duration such as "
    "90s, 5m or 2h, from 10s to 1d",
    "max_running: 0": "1:14: max_running: found 0; expected a whole number from 1 to 100000, or none, such as 8",
    "timezone: Mars": "1:11: timezone: found 'Mars'; expected a time zone of the tz database, such as UTC or "
    "Europe/Berlin",
    "metrics: {textfile: x.prom}": "1:21: metrics.textfile: found 'x.prom'; expected an absolute path that ends in "
    ".prom such as /var/lib/jobqueued.prom",
    "retention: 5": "1:12: retention: found 5; expected a mapping with the keys runs, age, bytes, "
    "such as {runs: 500, age: 365d, bytes: 10G}",
    "retention: {age: 5}": "1:18: retention.age: found 5; expected a duration such as 2h or 1d12h, from 1h to 36500d",
    "retention: {byte: 5}": "1:13: retention.byte: found an unknown key; expected 'bytes'",
    "max_runing: 5": "1:1: max_runing: found an unknown key; expected 'max_running'",
    "[]": "1:1: found an empty list; expected a mapping with the keys max_running, timezone, retention, max_use, "
    "keep_free, resources, reserve, escalation, tags, pressure, operators, readers, notify, notifier, mail, "
    "heartbeat, metrics, cron, users, fleet such as {max_running: 8}",
    "resources: [gpu]": "1:12: resources: found a list; expected a mapping of resources to amounts "
    "such as {cpu: 1, memory: 400M}",
    "tags: nightly": "1:7: tags: found 'nightly'; expected a mapping of tags to their limits such as "
    "{nightly: {live: 4}}",
    "tags: {nightly: 4}": "1:17: tags.nightly: found 4; expected a mapping with the key live such as {live: 4}",
    "tags: {nightly: {}}": "1:17: tags.nightly: found an empty mapping; expected a mapping with the key live such as "
    "{live: 4}",
    "tags: {nightly: {lives: 4}}": "1:18: tags.nightly.lives: found an unknown key; expected 'live'",
    "tags: {nightly: {live: 0}}": "1:24: tags.nightly.live: found 0; expected a whole number from 1 to 100000, "
    "such as 4",
    'tags: {"a,b": {live: 1}}': "1:8: tags: found 'a,b'; expected a tag without a comma",
    "resources: {gpu: 0}": "1:18: resources.gpu: found 0; expected a whole number from 1 to 1000000",
    "resources: {memory: 16}": "1:21: resources.memory: found 16; expected a size such as 512K, 512M or 2G, from 1K "
    "to 1000000T",
    "resources: {GPU: 1}": "1:13: resources: found 'GPU'; expected a name such as db-1: up to 64 characters of "
    "a-z 0-9 . _ -, starting with a letter or digit",
    "reserve: {disk: 1G}": "1:11: reserve: found 'disk'; expected cpu or memory",
    "reserve: {cpu: 1G}": "1:16: reserve.cpu: found '1G'; expected a number of cores such as 0.5, or a percentage of "
    "one core such as 50%, from 0.01 to 4096 cores",
    "escalation: 5": "1:13: escalation: found 5; expected a mapping with the keys points, every, "
    "such as {points: 2, every: 5m}",
    "escalation: {every: 0s}": "1:21: escalation.every: found '0s'; expected a duration such as 90s, 5m or 2h, "
    "from 1s to 1d",
    "a: !x 1\n": "1:4: found a tag; expected a value without a tag, or quotes around a value that starts with !",
}


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=BAD)
def test_wrong_settings_are_explained(text: str, message: str, tmp_path: Path) -> None:
    """A wrong setting is named with its place, and the default holds."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text(text)
    config, problems = read_settings(file)
    assert (Settings(), f"{file}:{message}") == (config, str(problems[0]))


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Trouble with the file is said, not raised."""
    assert [f"{tmp_path}: cannot be read: Is a directory"] == [str(problem) for problem in read_settings(tmp_path)[1]]


def test_the_hosts_zone(tmp_path: Path) -> None:
    """The zone is where /etc/localtime points, else what /etc/timezone says, else UTC."""
    link, written = tmp_path / "localtime", tmp_path / "timezone"
    assert "UTC" == host_timezone(tmp_path)
    os.symlink("localtime", link)
    assert "UTC" == host_timezone(tmp_path)
    written.write_bytes(b"\xff../no zone\n")
    assert "UTC" == host_timezone(tmp_path)
    for text in ("Europe/Berlin", "right/Europe/Berlin"):
        written.write_text(f"{text}\n")
        assert "Europe/Berlin" == host_timezone(tmp_path)
    link.unlink()
    link.write_bytes(b"TZif2")
    assert "Europe/Berlin" == host_timezone(tmp_path), "a copy has no name"
    link.unlink()
    os.symlink("/usr/share/zoneinfo/Asia/Tokyo", link)
    assert "Asia/Tokyo" == host_timezone(tmp_path), "what timedatectl has set"


def test_packages_bring_settings(tmp_path: Path) -> None:
    """Drop-ins replace keys of the system's file, the last by name at last; of one name the administrator's counts."""
    own, packaged = tmp_path / "etc/jobqueued.yaml", tmp_path / "usr/jobqueued.yaml"
    for directory in (f"{own}.d", f"{packaged}.d"):
        Path(directory).mkdir(parents=True)
    Path(f"{packaged}.d/a.yaml").write_text("cron: {live: true, expand: true}\nmax_running: 2\n")
    Path(f"{packaged}.d/b.yaml").write_text("max_running: 3\n")
    Path(f"{packaged}.d/c.yaml.dpkg-new").write_text("max_running: 4\n")
    own.write_text("max_running: 1\nretention: {runs: 7}\n")
    cron = {"live": True, "expand": True}
    assert (Settings(3, retention=Retention(7), cron=cron), []) == read_settings(own, more=(packaged,))
    Path(f"{own}.d/a.yaml").write_text("cron: {live: true, expand: false}\n")
    assert {"live": True, "expand": False} == read_settings(own, more=(packaged,))[0].cron
    Path(f"{packaged}.d/b.yaml").write_text("max_running: many\n")
    _, (problem,) = read_settings(own, more=(packaged,))
    assert (f"{packaged}.d/b.yaml", "max_running") == (problem.file, problem.key)
