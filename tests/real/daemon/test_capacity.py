"""What the host has, and how much of it all runs of one user may have if the settings say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueued.host.capacity import caps_by_default

GIB = 1 << 30


def host(path: Path, cgroup: str, limits: dict[str, str]) -> Path:
    """The files of the kernel of a host with 10 GiB, below a directory."""
    files = {
        "proc/meminfo": f"MemTotal:       {10 * GIB >> 10} kB\nMemFree: 1 kB\n",
        "proc/7/cgroup": f"1:name=systemd:/x\n{cgroup}",
        "proc/sys/kernel/pid_max": "4194304\n", "proc/sys/kernel/threads-max": "30000\n",
        **{f"sys/fs/cgroup/{name}": text for name, text in limits.items()},
    }  # fmt: skip
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize(
    ("cgroup", "limits", "memory", "tasks"),
    [
        ("", {}, 8 * GIB, 10_000), ("0::/\n", {}, 8 * GIB, 10_000),
        ("0::/\n", {"memory.max": f"{5 * GIB}\n", "pids.max": "600\n"}, 4 * GIB, 200),
        ("0::/a.slice/b.service\n", {"a.slice/memory.max": f"{5 * GIB}\n", "a.slice/pids.max": "max\n"}, 4 * GIB,
         10_000),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/pids.max": "600\n"}, 8 * GIB, 10_000),
        ("0::/\n", {"pids.max": "2\n"}, 8 * GIB, 1),
    ],
    ids=["version 1", "the host's", "a container", "a slice", "the daemon's own", "least"],
)  # fmt: skip
def test_a_part_of_the_host(tmp_path: Path, cgroup: str, limits: dict[str, str], memory: int, tasks: int) -> None:
    """Four fifths of the memory and a third of the tasks: of the host, or of what is around it; the limits of the
    daemon's own unit bound no runs.
    """
    found = caps_by_default(7, host(tmp_path, cgroup, limits))
    assert {"memory": memory, "tasks": tasks} == found


def test_files_that_are_missing(tmp_path: Path) -> None:
    """A daemon starts on a host, such as a container, that shows no limit of tasks: then there is none."""
    root = host(tmp_path, "0::/\n", {"pids.max": "\n"})
    for name in ("pid_max", "threads-max"):
        (root / "proc/sys/kernel" / name).unlink()
    assert {"memory": 8 * GIB} == caps_by_default(7, root)
