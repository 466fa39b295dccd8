"""The peers, fetched and unpacked side by side in one directory, as some conflict when they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = ("cron", "cronie", "task-spooler", "at")
CRONSTABLE = "cronstable"


class CannotRun(Exception):
    """The comparison can't take place here; the message says what is missing."""


class Installs:
    """What is compared: the unpacked packages, an environment with cronstable, and the C programs beside them."""

    def __init__(self, folder: Path) -> None:
        """Fetch all of it; CannotRun."""
        self.folder, self.root = folder, folder / "root"
        for package in PACKAGES:
            self._run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], f"package {package}")
        for archive in folder.glob("*.deb"):
            self._run(["dpkg-deb", "-x", str(archive), str(self.root)], archive.name)
        self.cronstable = cronstable(folder)
        self.stamp = self._compiled(HERE / "stamp.c", "-static")
        self.init = self._compiled(HERE / "init.c", "-static")
        self.tick_loop = self._compiled(HERE / "tick_loop.c")
        self.spawn_loop = self._compiled(HERE.parent / "spawn_loop.c")

    def versions(self) -> dict[str, str]:
        """The upstream version of each."""
        found = {path.name.split("_")[0]: path.name.split("_")[1] for path in self.folder.glob("*.deb")}
        named = {name: found[name].rpartition("-")[0] for name in PACKAGES}
        return named | {CRONSTABLE: version(self.cronstable)}

    def _compiled(self, source: Path, *flags: str) -> Path:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise CannotRun("a C compiler is needed: apt install gcc libc6-dev")
        program = self.folder / source.stem
        self._run([compiler, "-O2", *flags, "-o", str(program), str(source)], source.name)
        return program

    def _run(self, command: list[str], what: str) -> None:
        _run(self.folder, command, what)


def cronstable(folder: Path) -> Path:
    """Its program, in an environment of its own below `folder`; CannotRun."""
    environment = folder / CRONSTABLE
    _run(folder, [sys.executable, "-m", "venv", str(environment)], "venv")
    _run(folder, [str(environment / "bin/pip"), "install", "-q", CRONSTABLE], CRONSTABLE)
    return environment / "bin" / CRONSTABLE


def version(program: Path) -> str:
    """What a program says to ``--version``, last."""
    return subprocess.check_output([program, "--version"], text=True).split()[-1]


def _run(folder: Path, command: list[str], what: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"{what}: {done.stderr.strip()}")
