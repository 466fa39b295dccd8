"""TLS of a fleet beside a real etcd that wants certificates: the right ones, and what is said of wrong ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import trustme

from tests.support.etcd import etcd
from tests.support.fleet_agent import Agent
from tests.support.users import NEEDS_USER

NAMES = ("127.0.0.1", "localhost")
LONG_AGO = datetime.now(UTC) - timedelta(days=30)
NUMBERS = count(1)
"""Of hosts, none of which may be there twice."""

Said = Callable[..., str]
Options = Callable[[str], list[str | Path]]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority, certificates by it and their keys, and those that are wrong in one way."""
    directory = tmp_path_factory.mktemp("pem")
    authority, another = trustme.CA(), trustme.CA()
    for name, ca in (("authority", authority), ("another", another)):
        ca.cert_pem.write_to_path(directory / f"{name}.pem")
    made = {
        "member": authority.issue_cert(*NAMES), "host": authority.issue_cert("host.example"),
        "expired": authority.issue_cert(*NAMES, not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1)),
        "elsewhere": authority.issue_cert("etcd.example"), "stranger": another.issue_cert("host.example"),
    }  # fmt: skip
    for name, leaf in made.items():
        leaf.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        leaf.private_key_pem.write_to_path(directory / f"{name}.key")
    return directory


@pytest.fixture(scope="module")
def options(pem: Path) -> Options:
    """Those of a member of etcd by the name of its certificate, which wants one of hosts."""
    return lambda name: ["--cert-file", pem / f"{name}.pem", "--key-file", pem / f"{name}.key",
                         "--trusted-ca-file", pem / "authority.pem", "--client-cert-auth"]  # fmt: skip


@pytest.fixture(scope="module")
def address(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd whose certificate is right."""
    with etcd(tmp_path_factory.mktemp("etcd"), *options("member")) as found:
        yield found


def files(pem: Path, *, authority: str = "authority", host: str = "host", key: str = "") -> dict[str, str]:
    """The settings with these files."""
    return {
        "authority": authority and f"{pem}/{authority}.pem", "certificate": host and f"{pem}/{host}.pem",
        "key": host and f"{pem}/{key or host}.key",
    }  # fmt: skip


@pytest.fixture
def said(tmp_path: Path) -> Said:
    """Tells what an agent with these settings says of a member, without the member's address."""

    def ask(address: str, **settings: str) -> str:
        host = f"host{next(NUMBERS)}"
        agent = Agent(tmp_path / host, address, host, **settings)
        reason = str(agent.hear("up")[1])
        agent.close()
        return reason.removeprefix(f"{address}: ")

    return ask


def test_right_certificates(address: str, pem: Path, tmp_path: Path) -> None:
    """The fleet can be asked."""
    agent = Agent(tmp_path / "own", address, "right", **files(pem))
    agent.hear("up", "")
    agent.ask("backup", "f1772409660")
    agent.hear("granted", "backup", 1, 1)
    agent.close()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"authority": "another"}, "its certificate is not signed by an authority in PEM/another.pem: set `authority`"),
        ({"authority": ""}, "its certificate is not signed by an authority that this host trusts: set `authority`"),
        ({"host": ""}, "it requires a certificate from this host: set `certificate` and `key`"),
        ({"host": "expired"}, "this host's certificate has expired: renew it"),
        ({"host": "stranger"}, "it does not trust the authority that signed this host's certificate"),
        ({"key": "member"}, "key: PEM/member.key does not belong to PEM/host.pem"),
        ({"host": "nowhere"}, "certificate: PEM/nowhere.pem: No such file or directory"),
    ],
    ids=["authority", "none-of-the-host", "no-certificate", "expired", "stranger", "other-key", "no-file"],
)
def test_wrong_files(said: Said, address: str, pem: Path, given: dict[str, str], reason: str) -> None:
    """The reason names what is wrong, and the setting that mends it."""
    assert reason == said(address, **files(pem, **given)).replace(str(pem), "PEM")


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("expired", "its certificate has expired"),
        (
            "elsewhere",
            "its certificate is not for '127.0.0.1': in `etcd`, use a name from the certificate, or get a "
            "certificate for this name",
        ),
    ],
)
def test_members_with_wrong_certificates(
    said: Said, options: Options, pem: Path, tmp_path: Path, certificate: str, reason: str
) -> None:
    """The member is not spoken with, and the reason tells whose certificate is to be renewed."""
    with etcd(tmp_path, *options(certificate)) as address:
        assert reason == said(address, **files(pem))


def test_files_of_something_else(said: Said, address: str, pem: Path, tmp_path: Path) -> None:
    """A file without PEM is named with its setting."""
    text = tmp_path / "text"
    text.write_text("no certificate\n")
    assert f"authority: {text} has no PEM certificate" == said(address, authority=str(text))
    wrong = files(pem) | {"key": str(text)}
    assert f"certificate, key: {pem}/host.pem has no PEM certificate, or {text} no PEM key" == said(address, **wrong)


@NEEDS_USER
def test_a_key_of_somebody_else(said: Said, address: str, pem: Path, tmp_path: Path) -> None:
    """A file that may not be read is named with its setting."""
    key = tmp_path / "key"
    key.touch(mode=0)
    assert f"key: {key}: Permission denied" == said(address, **files(pem) | {"key": str(key)})


def test_no_tls(said: Said, address: str, pem: Path, tmp_path: Path) -> None:
    """A member without TLS is called one; a member with it says what it wants."""
    with etcd(tmp_path) as plain:
        assert "it closed the connection, or does not use TLS" == said(plain.replace("http:", "https:"), **files(pem))
    assert "it closed the connection, or requires TLS" == said(address.replace("https:", "http:"))


def test_credentials(said: Said, address: str, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a slash is a credential of the unit; one that this has not is named, with its remedy."""
    named = {name: f"{words}" for name, words in (("authority", "authority.pem"), ("certificate", "host.pem"))}
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    reason = "authority: credentials such as authority.pem exist only in systemd units; use a file path"
    assert reason == said(address, **named, key="host.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(pem))
    assert "" == said(address, **named, key="host.key")
    reason = said(address, **named, key="fleet.key")
    assert reason.startswith("key: jobqueued-fleet.service has no credential fleet.key: store it as /etc/credstore")


def test_a_certificate_that_is_renewed(address: str, pem: Path, tmp_path: Path) -> None:
    """The agent takes the new one by itself."""
    own = tmp_path / "pem"
    own.mkdir()
    given = files(own, host="own") | {"authority": f"{pem}/authority.pem"}
    for name in ("pem", "key"):
        (own / f"own.{name}").write_bytes((pem / f"expired.{name}").read_bytes())
    agent = Agent(tmp_path / "own", address, "renewed", **given)
    assert "has expired" in agent.hear("up")[1]
    for name in ("key", "pem"):
        (own / "new").write_bytes((pem / f"host.{name}").read_bytes())
        os.rename(own / "new", own / f"own.{name}")
    agent.hear("up", "")
    agent.close()
