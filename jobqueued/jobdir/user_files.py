"""Job files of users, below the state directory: whose each is, its name tells, by the name and the number of its user.

Only the daemon writes there.  Each is the old one or the new one, whoever dies while it is written.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from jobqueued.child import atomic_file
from jobqueued.child.tuples import NamedTuple
from jobqueued.filenames import OF_A_USER
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.user_keys import PERMITS
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model import Job
from jobqueued.sha256 import sha256
from jobqueued.users import Owner, UserLimits

DIRECTORY = "users"
NONE = "none"
"""The stamp of a file that there is not."""
_FILE = re.compile(rf"([^/:]+):([0-9]{{1,10}})\+({OF_A_USER.pattern})\.yaml")
_LONGEST = 255 - len(atomic_file.TEMPORARY)


class UserFile(NamedTuple):
    """A file, there or not: its user, and the name by which that user knows it."""

    owner: Owner
    name: str

    @property
    def stored_as(self) -> str:
        """The name of the file in the directory."""
        return f"{self.owner.name}:{self.owner.uid}+{self.name}.yaml"

    @property
    def shown(self) -> str:
        """The name of the file for people."""
        return f"{self.name}.yaml"

    @classmethod
    def parse(cls, stored_as: str) -> UserFile | None:
        """The inverse of `stored_as`; None: it is no such name."""
        found = _FILE.fullmatch(stored_as)
        return None if found is None else cls(Owner(int(found[2]), found[1]), found[3])


def fits(file: UserFile) -> bool:
    """True if a file of a user can be stored: a name may be too long, or none that can be printed."""
    stored_as = file.stored_as
    return stored_as.isprintable() and len(os.fsencode(stored_as)) <= _LONGEST and UserFile.parse(stored_as) == file


def stamp_of(text: bytes) -> str:
    """The digest that tells a text from those before and after it."""
    return sha256(text).hexdigest()


class UserFiles:
    """The files of all users; `directory` need not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        for left in self.directory.glob(f"*{atomic_file.TEMPORARY}"):  # by a daemon that was killed
            with contextlib.suppress(OSError):
                left.unlink()

    def all(self) -> list[UserFile]:
        """The files that there are, by user and name; OSError."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(file for name in names if (file := UserFile.parse(name)) is not None)

    def path(self, file: UserFile) -> str:
        """The place of a file, there or not."""
        return f"{self.directory}/{file.stored_as}"

    def read(self, file: UserFile) -> tuple[bytes, str]:
        """Its text, and the stamp of that; b"", NONE: there is none.  OSError."""
        try:
            text = atomic_file.content(self.path(file))
        except FileNotFoundError:
            return b"", NONE
        return text, stamp_of(text)

    def write(self, file: UserFile, text: bytes) -> None:
        """Put a text in place; OSError, and the old one is there."""
        atomic_file.make_directory(str(self.directory), 0o700)
        atomic_file.replace(self.path(file), text, 0o600, durable=True)

    def remove(self, file: UserFile) -> bool:
        """Remove a file; False: there is none.  OSError, and it is there."""
        try:
            os.unlink(self.path(file))
        except FileNotFoundError:
            return False
        return True

    def made_durable(self) -> str:
        """Make what was written or removed last outlast a crash of the host; the reason why that can't be, or ""."""
        try:
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"{self.directory}: {error.strerror}"
        return ""


def of_state(name: str) -> UserFile | None:
    """The file that has this name in state.db; None: that is no user's."""
    directory, _, stored_as = name.rpartition("/")
    return UserFile.parse(stored_as) if directory == DIRECTORY else None


def jobs_of_text(file: UserFile, text: bytes, timezone: str, seed: str) -> tuple[Job, ...] | None:
    """The jobs of a text that was accepted once, by whatever limits there were then; None: it can't be read."""
    rules = UserRules(file.owner, UserLimits(permit=PERMITS, interval=0))
    found, problems = read_jobs(text, file.shown, timezone=timezone, seed=seed, rules=rules)
    return None if any(problem.severity == "error" for problem in problems) else found
