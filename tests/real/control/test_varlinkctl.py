"""systemd's varlinkctl beside jobqueuectl."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from jobqueued import __version__
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.control.protocol.varlink import VarlinkError
from tests.support.answers import (
    RECORD,
    Daemon,
)
from tests.support.needed import need


def varlinkctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd's own client."""
    return subprocess.run([need("varlinkctl"), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.usefixtures("daemon")
class TestVarlinkctl:
    def test_interface(self, tmp_path: Path) -> None:
        """systemd's parser accepts both interface descriptions and hands ours on as it is."""
        address = f"unix:{tmp_path}/run/control"
        names = varlinkctl("list-interfaces", address).stdout.split()
        assert ["io.jobqueue", "org.varlink.service"] == names
        introspected = [varlinkctl("introspect", address, name) for name in names]
        assert [0, 0] == [shown.returncode for shown in introspected]
        (tmp_path / "interface").write_text(INTERFACE)
        validated = varlinkctl("validate-idl", str(tmp_path / "interface"))
        assert (0, introspected[0].stdout) == (validated.returncode, validated.stdout)

    def test_info(self, tmp_path: Path) -> None:
        """The service introduces itself."""
        answer = json.loads(varlinkctl("info", "--json=short", f"unix:{tmp_path}/run/control").stdout)
        assert ("jobqueued", __version__) == (answer["product"], answer["version"])

    def test_call(self, tmp_path: Path) -> None:
        """A record comes through whole, also with what a job wrote."""
        called = varlinkctl(
            "call", "--json=short", f"unix:{tmp_path}/run/control", "io.jobqueue.Show", '{"run": "a@1"}'
        )
        assert {"record": RECORD} == json.loads(called.stdout)

    def test_unreadable_characters(self, daemon: Daemon, tmp_path: Path) -> None:
        """Characters that systemd refuses a whole message for reach it as U+FFFD."""
        daemon.answers("Show", {"record": {"tail": "a\0b\ud800c\ufffed\x7f\U0001d11e"}})
        called = varlinkctl(
            "call", "--json=short", f"unix:{tmp_path}/run/control", "io.jobqueue.Show", '{"run": "a@1"}'
        )
        assert {"record": {"tail": "a\ufffdb\ufffdc\ufffdd\x7f\U0001d11e"}} == json.loads(called.stdout)

    @pytest.mark.parametrize(
        ("method", "parameters", "error"),
        [
            ("Describe", "{}", "org.varlink.service.InvalidParameter"),
            ("Nonsense", "{}", "org.varlink.service.MethodNotFound"),
            ("Run", '{"job": "x"}', "io.jobqueue.NoSuchJob"),
        ],
    )
    def test_errors(self, daemon: Daemon, tmp_path: Path, method: str, parameters: str, error: str) -> None:
        """Errors arrive by name."""
        daemon.refuses("Run", VarlinkError("NoSuchJob", {"job": "x"}))
        called = varlinkctl("call", f"unix:{tmp_path}/run/control", f"io.jobqueue.{method}", parameters)
        assert (1, True) == (called.returncode, error in called.stderr)

    def test_oneway(self, tmp_path: Path) -> None:
        """A oneway call is carried out."""
        called = varlinkctl("call", "--oneway", f"unix:{tmp_path}/run/control", "io.jobqueue.Run", '{"job": "x"}')
        assert (0, "") == (called.returncode, called.stdout)
