"""Another user of this host, by number: what such a one gets to see and can do."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def public() -> Iterator[Path]:
    """A directory below /tmp that every user may enter."""
    path = Path(tempfile.mkdtemp(prefix="jobqueued-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        subprocess.run(["rm", "-rf", str(path)], check=True)


def become(uid: int, *groups: int) -> None:
    """Be that user from here on, in these groups (the first, or the one of the user's number, is the primary)."""
    os.setgroups(groups)
    os.setresgid(*[groups[0] if groups else uid] * 3)
    os.setresuid(uid, uid, uid)


def as_user(uid: int, what: Callable[[], Any], *groups: int) -> Any:
    """What a process of that user finds: any value of JSON's; AssertionError if it fails."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            become(uid, *groups)
            os.write(writing, json.dumps(what()).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read()
    assert 0 == os.waitpid(pid, 0)[1]
    return json.loads(told)
