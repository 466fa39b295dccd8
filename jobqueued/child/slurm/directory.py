"""The directory for an attempt on Slurm, shared by host and node. wrapper.py lists its files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from jobqueued.child.contract import atomic_file

_WRAPPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrapper.py")
_HEAD = b"#!/usr/bin/python3 -I\n"
_NAMES = ("order", "stdin", "script", "claim", "output", "slurm", "end")
_CHUNK = 1 << 16
_SAID = 1 << 16
REVOKED = b"revoked\n"


class Directory:
    """The directory of an attempt. `offset`: bytes of output that were already copied."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self.path = os.path.join(order["directory"] or os.getcwd(), order["files"])
        self.script = f"{self.path}/script"
        self._offset: int = order["offset"]

    def make(self) -> None:
        """Make the directory and the wrapper's files, unless an earlier helper made them. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path, 0o700)
        with open(_WRAPPER, "rb") as file:
            self._put("script", _HEAD + file.read())
        if not os.path.exists(f"{self.path}/stdin"):
            self._put("stdin", _all_of(0))
        wanted = {**self._order["process"], "environment": dict(os.environ), "working_directory": os.getcwd()}
        self._put("order", json.dumps(wanted).encode())

    def _put(self, name: str, data: bytes) -> None:
        atomic_file.replace(f"{self.path}/{name}", data, 0o600, durable=True)

    def revoke(self) -> bool:
        """Make the claim, so that no wrapper can make it. Return False if a wrapper already did."""
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
        """Return whether the claim was revoked, so that no wrapper can make a claim."""
        return self._content("claim") == REVOKED

    def claim(self) -> dict[str, Any] | None:
        """Return the wrapper's claim, or None if it is missing or incomplete."""
        data = self._content("claim")
        if not data.endswith(b"\n") or data == REVOKED:
            return None
        found: dict[str, Any] = json.loads(data)
        return found

    def has_end(self) -> bool:
        """Return whether the wrapper reported its command's end."""
        return os.path.exists(f"{self.path}/end")

    def end(self) -> dict[str, Any] | None:
        """Return the wrapper's report about the end, or None."""
        data = self._content("end")
        found: dict[str, Any] | None = json.loads(data) if data else None
        return found

    def said(self) -> bytes:
        """Return the end of Slurm's own messages."""
        return self._content("slurm")[-_SAID:]

    def copy_output(self) -> None:
        """Copy new output to our own."""
        try:
            with open(f"{self.path}/output", "rb", buffering=0) as file:  # re-opened, so that NFS checks for changes
                file.seek(self._offset)
                while data := file.read(_CHUNK):
                    self._offset += len(data)
                    while data:
                        data = data[os.write(1, data) :]
        except OSError:  # not written yet, no answer from the file system, or no reader
            return

    def remove(self) -> None:
        """Remove the directory as the last step. Without the directory, no command can start."""
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
