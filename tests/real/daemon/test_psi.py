"""PressureTriggers on the host: the kernel's own triggers, and what can't be watched."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.host.psi import DIRECTORY, PressureTriggers
from jobqueued.model.job import Now
from tests.support.host import DEADLINE


@pytest.mark.skipif(not DIRECTORY.exists(), reason="needs a kernel with PSI")
def test_the_kernel_tells_of_it() -> None:
    """Three that want all of a CPU, on one: two of them wait at any time, and that is told."""
    watched = PressureTriggers({"cpu": 30})
    assert watched.troubles == []
    (descriptor,) = watched.descriptors()
    cpu = min(os.sched_getaffinity(0))
    burn = f"import os\nos.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(3)]
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        told = poll.poll(DEADLINE * 1000)
    finally:
        for process in busy:
            process.kill()
            process.wait()
        os.close(descriptor)
    assert told == [(descriptor, select.POLLPRI)]
    (event,) = watched.ready(descriptor, Now(0, 7 * SECOND))
    assert event.name == "cpu"
    assert event.until > 9 * SECOND, "beyond the window in which it would be told again"


def test_what_is_asked_of_the_kernel(tmp_path: Path) -> None:
    """Percent of the window, as psi.rst has it; each resource apart."""
    for name in ("cpu", "io"):
        (tmp_path / name).write_text("")
    watched = PressureTriggers({"cpu": 80, "io": 5}, tmp_path)
    assert (tmp_path / "cpu").read_bytes() == b"some 1600000 2000000\0"
    assert (tmp_path / "io").read_bytes() == b"some 100000 2000000\0"
    assert [event.name for each in watched.descriptors() for event in watched.ready(each, Now(0, 0))] == ["cpu", "io"]
    for descriptor in watched.descriptors():
        os.close(descriptor)


def test_what_cannot_be_watched_is_said_and_not_polled(tmp_path: Path) -> None:
    """No PSI in this kernel, or no trigger to be had: a descriptor without one would be ready all the time."""
    (tmp_path / "io").symlink_to("/dev/full")
    watched = PressureTriggers({"cpu": 80, "io": 40}, tmp_path)
    assert watched.descriptors() == {}
    assert watched.troubles == [
        f"cannot watch cpu pressure, so no run waits for it to fall: {tmp_path}/cpu: No such file or directory",
        f"cannot watch io pressure, so no run waits for it to fall: {tmp_path}/io: No space left on device",
    ]
