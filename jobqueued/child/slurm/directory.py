"""The directory of an attempt on Slurm, which its host and its node have in common; wrapper.py says what is in it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from jobqueued.child import atomic_file

_WRAPPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrapper.py")
_HEAD = b"#!/usr/bin/python3 -I\n"
_NAMES = ("order", "stdin", "script", "claim", "output", "slurm", "end")
_CHUNK = 1 << 16
_SAID = 1 << 16
REVOKED = b"revoked\n"


class Directory:
    """Of one attempt.  `offset`: the bytes of output that were copied already."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self.path = os.path.join(order["directory"] or os.getcwd(), order["files"])
        self.script = f"{self.path}/script"
        self._offset: int = order["offset"]

    def make(self) -> None:
        """Make it, and all that the wrapper needs; again, as whoever began it may not have come to the end; OSError."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path, 0o700)
        with open(_WRAPPER, "rb") as file:
            self._put("script", _HEAD + file.read())
        if not os.path.exists(f"{self.path}/stdin"):
            self._put("stdin", _all_of(0))
        wanted = {
            **self._order["process"], "environment": dict(os.environ), "working_directory": os.getcwd()
        }  # fmt: skip
        self._put("order", json.dumps(wanted).encode())

    def _put(self, name: str, data: bytes) -> None:
        atomic_file.replace(f"{self.path}/{name}", data, 0o600, durable=True)

    def revoke(self) -> bool:
        """Take the claim, so that no wrapper can; False: one has it."""
        try:
            claim = os.open(f"{self.path}/claim", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return self.is_revoked
        except OSError:
            return False
        os.write(claim, REVOKED)
        os.close(claim)
        return True

    @property
    def is_revoked(self) -> bool:
        """True if no wrapper can ever take the claim."""
        return self._content("claim") == REVOKED

    def claim(self) -> dict[str, Any] | None:
        """The wrapper's; None: there is none, or it is being written."""
        data = self._content("claim")
        if not data.endswith(b"\n") or data == REVOKED:
            return None
        found: dict[str, Any] = json.loads(data)
        return found

    def has_end(self) -> bool:
        """True once the wrapper has told how its command ended."""
        return os.path.exists(f"{self.path}/end")

    def end(self) -> dict[str, Any] | None:
        """Read that; None: it has not."""
        data = self._content("end")
        found: dict[str, Any] | None = json.loads(data) if data else None
        return found

    def said(self) -> bytes:
        """The end of what Slurm itself has written."""
        return self._content("slurm")[-_SAID:]

    def copy_output(self) -> None:
        """Copy what has come of the output to our own."""
        try:
            with open(f"{self.path}/output", "rb", buffering=0) as file:  # opened anew, as NFS looks then
                file.seek(self._offset)
                while data := file.read(_CHUNK):
                    self._offset += len(data)
                    while data:
                        data = data[os.write(1, data) :]
        except OSError:  # not there yet, or the file system does not answer; or nobody reads ours
            return

    def remove(self) -> None:
        """Remove it, as the last of all: what is not there can't start."""
        for name in _NAMES:
            for aside in ("", atomic_file.TEMPORARY):
                with contextlib.suppress(OSError):
                    os.unlink(f"{self.path}/{name}{aside}")
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    def _content(self, name: str) -> bytes:
        try:
            with open(f"{self.path}/{name}", "rb") as file:
                return file.read()
        except OSError:
            return b""


def _all_of(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()
