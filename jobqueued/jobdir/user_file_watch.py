"""The watch of users' job files: the files that the daemon reads, and their reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from jobqueued.jobdir.acceptance import Content
from jobqueued.jobdir.kinds import DirectoryKind
from jobqueued.jobdir.trust import is_leftover
from jobqueued.jobdir.user_files import DIRECTORY, UserFile, UserFiles
from jobqueued.jobdir.watch import Watch
from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.scopes import Locality
from jobqueued.jobfile.tree.yamltext import Steps
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.users import UserLimits

_never = frozenset[str]().__contains__
USERS = DirectoryKind(
    reads=lambda name: UserFile.parse(name) is not None,
    is_meant=_never,
    prefix=f"{DIRECTORY}/",
    is_foreign=lambda name: UserFile.parse(name) is None and not is_leftover(name),
    unread="is ignored; expected files that users stored with jobqueuectl add",
    optional=True,
    vital=False,
    heard=False,
)


def watch(
    files: UserFiles, limits: UserLimits, host: Callable[[], Locality], where: Surroundings, kept: Mapping[str, bytes]
) -> Watch:
    """Watch the files. `kept` has the last accepted texts of all kinds of files.

    `host` returns the facts about the host that are needed to read a file.
    """
    return Watch(files.directory, partial(read, limits, host, where), kept, USERS)


def read(
    limits: UserLimits, host: Callable[[], Locality], where: Surroundings, data: bytes, path: str
) -> Steps[Content]:
    """Read the jobs of a user's file; the file name contains the user."""
    file = UserFile.parse(os.path.basename(path))
    assert file is not None, path
    rules = UserRules(file.owner, limits)
    return read_here(where, data, path, host(), rules=rules)
