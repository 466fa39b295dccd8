"""Cron's tables of a bad day: that of the host, a package's and a user's, each with lines that are due each minute."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.jobs import SCRIPT, USER, Job

_PLACES = {
    "crontab": ("etc/crontab", "crontab"),
    "package": ("etc/cron.d/chaos", "cron.d/chaos"),
    "spool": (f"var/spool/cron/crontabs/{USER.pw_name}", f"crontabs/{USER.pw_name}"),
}
_HEAD = 'SHELL=/bin/sh\nMAILTO=""\n'


def cron_jobs(count: int) -> list[Job]:
    """The jobs of the tables, by the ids that jobqueued gives them."""
    prefixes = [prefix for _, prefix in _PLACES.values()]
    return [Job(f"{prefixes[n % 3]}:line-{n}", {"schedule": "* * * * *"}, tick="0") for n in range(count)]


class Tables:
    """The tables below a root."""

    def __init__(self, root: Path, jobs: list[Job]) -> None:
        self.root, self.jobs = root, jobs
        self.paths = {name: root / place for name, (place, _) in _PLACES.items()}

    def file_of(self) -> dict[str, str]:
        """The name of the table of each job."""
        return {job.id: name for name, (_, prefix) in _PLACES.items() for job in self._of(prefix)}

    def write(self, *, empty: bool = False) -> None:
        """Install all of them."""
        for name, (_, prefix) in _PLACES.items():
            path, words = self.paths[name], [] if name == "spool" else ["root"]
            path.parent.mkdir(parents=True, exist_ok=True)
            text = _HEAD
            for job in [] if empty else self._of(prefix):
                command = f"exec /bin/sh {self.root}/ledger/{SCRIPT.name} {self.root}/ledger {job.tick}"
                line = " ".join(["* * * * *", *words, command])
                text += f"# jobqueue: {{id: {job.id.partition(':')[2]}}}\n{line}\n"
            new = path.with_name(f".{path.name}.new")
            new.write_text(text)
            if name == "spool":
                new.chmod(0o600)
                os.chown(new, USER.pw_uid, USER.pw_gid)
            new.replace(path)

    def _of(self, prefix: str) -> list[Job]:
        return [job for job in self.jobs if job.id.startswith(f"{prefix}:")]
