# vm-run: --with etcd-server
"""The agent of a fleet as a unit, beside Debian's etcd, which wants certificates: its rights, its restarts, its end."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vm import (
    LIVE,
    assert_went_on,
    ctl,
    failed,
    long_run,
    restarted_main,
    sh,
    start,
    state,
    status,
    until,
)

AGENT, SOCKET = "jobqueued-fleet.service", "jobqueued-fleet.socket"
SETTINGS, STORE, SESSION = Path("/etc/jobqueued.yaml"), Path("/etc/credstore"), Path("/run/jobqueue/agent/session")
FILES = ("authority", "certificate", "key")
FLEET = "\n".join(
    ["fleet:", "  etcd: https://127.0.0.1:2379", *(f"  {name}: jobqueued-fleet.{name}" for name in FILES), ""]
)
JOB_FILE = """
jobs:
  long:
    command: |
      echo $$ >/run/live/pid
      until [ -e /run/live/go ]; do sleep 0.05; done
      exit 7
    locks: [{name: tape, scope: fleet}]
  quick:
    command: exit 0
    locks: [{name: disk, scope: fleet}]
"""
MOST_MEMORY = 16 << 10
"""KiB of its own and its share of what it shares; with TLS, of which nobody else here has the libraries."""
CERTIFICATE = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
    "-addext", "keyUsage=critical,keyCertSign,digitalSignature", "-addext", "extendedKeyUsage=serverAuth,clientAuth",
    ]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def started(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An etcd, and a daemon that is in no fleet yet."""
    LIVE.mkdir(mode=0o777, exist_ok=True)
    pem = tmp_path_factory.mktemp("pem")
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
       "-keyout", f"{pem}/key", "-out", f"{pem}/certificate", *CERTIFICATE)  # fmt: skip
    tls = [f"--cert-file={pem}/certificate", f"--key-file={pem}/key", f"--trusted-ca-file={pem}/certificate"]
    urls = [f"--{name}-client-urls=https://127.0.0.1:2379" for name in ("listen", "advertise")]
    sh("systemd-run", "--unit=one-etcd", "--service-type=notify", "etcd", f"--data-dir={pem}/data", *urls, *tls,
       "--client-cert-auth")  # fmt: skip
    STORE.mkdir(mode=0o700, exist_ok=True)
    for name, source in zip(FILES, ("certificate", "certificate", "key"), strict=True):
        file = STORE / f"jobqueued-fleet.{name}"
        file.write_bytes((pem / source).read_bytes())
        file.chmod(0o600)
    start("jobs: {}")


@pytest.fixture(autouse=True)
def nothing_stays_failed() -> Iterator[None]:
    yield
    assert failed() == ""


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def agent() -> int:
    """The process of the agent."""
    return int(state(AGENT, "MainPID"))


def can_be_asked() -> None:
    """Wait until no trouble of the fleet is told, and a run that needs it succeeds."""
    until("the fleet can be asked", lambda: agent() and not status()["troubles"])
    sh("jobqueuectl", "run", "quick", "--wait")


def test_a_host_in_no_fleet() -> None:
    """The socket is there, and nobody has called."""
    assert ("active", "inactive") == (state(SOCKET, "ActiveState"), state(AGENT, "ActiveState"))
    assert "0600" == state(SOCKET, "SocketMode")
    assert not SESSION.exists()


def test_a_host_in_a_fleet() -> None:
    """Once the settings name one, the daemon calls the agent, and runs have its locks."""
    SETTINGS.write_text(FLEET)
    start(JOB_FILE)
    can_be_asked()


def found() -> list[str]:
    """What the doctor says of it."""
    return [f"{it['verdict']}: {it['seen']}" for it in ctl("doctor")["findings"] if it["what"] == "fleet"]


def test_what_the_doctor_says() -> None:
    """All is well; a socket that is stopped is told, with what starts it."""
    assert ["ok: the agent can start and can read the files that `fleet` names"] == found()
    sh("systemctl", "stop", SOCKET)
    command = ("jobqueuectl", "doctor", "--json")
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "the agent never starts" in told.stdout
    remedy = next(it["remedy"] for it in json.loads(told.stdout)["findings"] if it["what"] == "fleet")
    sh(*remedy.split())
    can_be_asked()


def test_its_rights() -> None:
    """It is a user of its own, without a capability, behind filters, with the session for itself, and small."""
    process = status_of(agent())
    own = pwd.getpwnam("jobqueue-fleet").pw_uid
    assert {str(own)} == set(process["Uid"].split())
    assert {"0000000000000000"} == {process[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")}
    assert ("1", "2") == (process["NoNewPrivs"], process["Seccomp"])
    assert (own, 0o700) == (SESSION.parent.stat().st_uid, SESSION.parent.stat().st_mode & 0o777)
    rollup = Path(f"/proc/{agent()}/smaps_rollup").read_text()
    (memory,) = re.findall(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
    print(f"the agent has {memory} KiB")
    assert int(memory) <= MOST_MEMORY


@pytest.mark.parametrize("action", [f"restart {AGENT}", f"restart {SOCKET}", "restart jobqueued", f"stop {AGENT}"])
def test_its_session_goes_on(action: str) -> None:
    """Whatever is restarted, the host stays who it is in the fleet, and a live run goes on."""
    run, pid = long_run()
    session = SESSION.read_text()
    sh("systemctl", *action.split())
    can_be_asked()
    assert session == SESSION.read_text()
    assert_went_on(run, pid)


def test_ten_quick_deaths() -> None:
    """Neither the service nor its socket runs into a limit."""
    for _ in range(10):
        restarted_main("KILL", AGENT)
    can_be_asked()
    assert "running" == state(SOCKET, "SubState")


def test_an_update() -> None:
    """`jobqueuectl restart-launcher` has another agent, too."""
    before = agent()
    sh("jobqueuectl", "restart-launcher")
    can_be_asked()
    assert before != agent()


def test_a_credential_that_is_not_there() -> None:
    """The agent starts, and says which one is missing; with it, and a restart, all is well."""
    file = STORE / "jobqueued-fleet.key"
    key = file.read_bytes()
    file.unlink()
    sh("systemctl", "restart", AGENT)
    words = "key: jobqueued-fleet.service has no credential jobqueued-fleet.key"
    until("it is told", lambda: any(words in trouble for trouble in status()["troubles"]))
    file.write_bytes(key)
    sh("systemctl", "restart", AGENT)
    can_be_asked()


def test_an_agent_that_can_not_start() -> None:
    """The daemon says where to look; once it can, all goes on without a restart of anything."""
    dropin = Path(f"/run/systemd/system/{AGENT}.d/nobody.conf")
    dropin.parent.mkdir(parents=True)
    dropin.write_text("[Service]\nUser=no-such-user\n")
    sh("systemctl", "daemon-reload")
    os.kill(agent(), signal.SIGKILL)
    words = "its agent does not answer; see: systemctl status jobqueued-fleet"
    until("it is told", lambda: any(words in trouble for trouble in status()["troubles"]), pause=1)
    dropin.unlink()
    sh("systemctl", "daemon-reload")
    can_be_asked()


def test_a_host_that_leaves() -> None:
    """Without a fleet in the settings nobody calls, and the agent ends by itself, without a failure."""
    SETTINGS.write_text("{}\n")
    sh("systemctl", "restart", "jobqueued")
    until("it has left", lambda: state(AGENT, "ActiveState") == "inactive")
    assert "success" == state(AGENT, "Result")
