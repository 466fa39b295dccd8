"""Users' job files, below the state directory. Each file name contains the user's name and UID.

Only the daemon writes to this directory. A crash during a write leaves either the old or the new file.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from jobqueued.base.filenames import OF_A_USER
from jobqueued.base.sha256 import sha256
from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.keys.user_keys import PERMITS
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.job import Job
from jobqueued.model.users import Owner, UserLimits

DIRECTORY = "users"
NONE = "none"
"""Stamp of a missing file."""
_FILE = re.compile(rf"([^/:]+):([0-9]{{1,10}})\+({OF_A_USER.pattern})\.yaml")
_LONGEST = 255 - len(atomic_file.TEMPORARY)


class UserFile(NamedTuple):
    """A file that may be missing: its user, and the name that the user chose."""

    owner: Owner
    name: str

    @property
    def stored_as(self) -> str:
        """The file's name in the directory."""
        return f"{self.owner.name}:{self.owner.uid}+{self.name}.yaml"

    @property
    def shown(self) -> str:
        """The file's name in messages."""
        return f"{self.name}.yaml"

    @classmethod
    def parse(cls, stored_as: str) -> UserFile | None:
        """Return the file with this name in the directory, or None if the name does not belong to a user's file."""
        found = _FILE.fullmatch(stored_as)
        return None if found is None else cls(Owner(int(found[2]), found[1]), found[3])


def fits(file: UserFile) -> bool:
    """Return whether a user's file can be stored: its name may be too long or unprintable."""
    stored_as = file.stored_as
    return stored_as.isprintable() and len(os.fsencode(stored_as)) <= _LONGEST and UserFile.parse(stored_as) == file


def stamp_of(text: bytes) -> str:
    """Return the digest that distinguishes a string's versions."""
    return sha256(text).hexdigest()


class UserFiles:
    """The files of all users; `directory` need not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        for left in self.directory.glob(f"*{atomic_file.TEMPORARY}"):  # left by a daemon that was killed
            with contextlib.suppress(OSError):
                left.unlink()

    def all(self) -> list[UserFile]:
        """Return the existing files, by user and name. Raises OSError."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(file for name in names if (file := UserFile.parse(name)) is not None)

    def path(self, file: UserFile) -> str:
        """Return a file's path, even if the file is missing."""
        return f"{self.directory}/{file.stored_as}"

    def read(self, file: UserFile) -> tuple[bytes, str]:
        """Return a file's text and stamp, or b"" and NONE if the file is missing. Raises OSError."""
        try:
            text = atomic_file.content(self.path(file))
        except FileNotFoundError:
            return b"", NONE
        return text, stamp_of(text)

    def write(self, file: UserFile, text: bytes) -> None:
        """Write a file. Raises OSError; the old text then remains."""
        atomic_file.make_directory(str(self.directory), 0o700)
        atomic_file.replace(self.path(file), text, 0o600, durable=True)

    def remove(self, file: UserFile) -> bool:
        """Remove a file; return False if it is missing. Raises OSError; the file then remains."""
        try:
            os.unlink(self.path(file))
        except FileNotFoundError:
            return False
        return True

    def made_durable(self) -> str:
        """Sync the last write or removal, so that it survives a host crash.

        Return the error, or "" if there is none.
        """
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
    """Return the file with this name in state.db, or None if it is not a user's file."""
    directory, _, stored_as = name.rpartition("/")
    return UserFile.parse(stored_as) if directory == DIRECTORY else None


def jobs_of_text(file: UserFile, text: bytes, timezone: str, seed: str) -> tuple[Job, ...] | None:
    """Return the jobs in an accepted text, without a check of limits, or None if the text can't be read."""
    rules = UserRules(file.owner, UserLimits(permit=PERMITS, interval=0))
    found, problems = read_jobs(text, file.shown, timezone=timezone, seed=seed, rules=rules)
    return None if any(problem.severity == "error" for problem in problems) else found
