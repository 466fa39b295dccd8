"""The host's capacity, which all runs share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jobqueued.child.contract.documents import SLURM_PATH

_ROOT = Path("/")


def host_has() -> tuple[list[int], int, bool]:
    """Return the numbers of the CPUs that this process may use, the host's memory (bytes), and whether the host can
    submit to Slurm.
    """
    has_slurm = any(os.access(f"{folder}/sbatch", os.X_OK) for folder in SLURM_PATH.split(":"))
    return sorted(os.sched_getaffinity(0)), _memory(_ROOT), has_slurm


def caps_by_default(pid: int | str = "self", root: Path = _ROOT) -> dict[str, int]:
    """Return the default limits for all runs of one user together: four fifths of the memory, and a third of the tasks.

    These limits are parts of the host's capacity, or of lower limits in the cgroups above the cgroup of the daemon
    (`pid`). The daemon's own cgroup does not count, because runs are in the launcher's cgroup. `root` contains /proc
    and /sys. If no file has a limit of tasks, the result does not have one either.
    """
    above = parents(pid, root)
    memory = min([_memory(root), *(most for most, _ in limits(above, "memory.max"))])
    tasks = [most for most, _ in (*kernel_tasks(root), *limits(above, "pids.max"))]
    return {"memory": memory * 4 // 5, **({"tasks": max(1, min(tasks) // 3)} if tasks else {})}


def _memory(root: Path) -> int:
    """Return MemTotal (bytes)."""
    with open(root / "proc/meminfo") as file:
        return int(file.readline().split()[1]) << 10


def kernel_tasks(root: Path = _ROOT) -> Iterator[tuple[int, Path]]:
    """Yield the kernel's limits of tasks, each with its file."""
    for name in ("pid_max", "threads-max"):
        file = root / "proc/sys/kernel" / name
        if (most := _number(file)) is not None:
            yield most, file


def cgroup_of(pid: int | str, root: Path = _ROOT) -> Path | None:
    """Return the directory of a process's cgroup, or None if the host has no cgroups of version 2."""
    lines = (root / f"proc/{pid}/cgroup").read_text().splitlines()
    name = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    return None if name is None else root / "sys/fs/cgroup" / name


def parents(pid: int | str, root: Path = _ROOT) -> list[Path]:
    """Return the cgroups above a process's cgroup, including the root of the tree, which may have limits in a
    container.
    """
    place, top = cgroup_of(pid, root), root / "sys/fs/cgroup"
    if place is None:
        return []
    return [top] if place == top else [it for it in place.parents if it.is_relative_to(top)]


def limits(places: list[Path], name: str) -> Iterator[tuple[int, Path]]:
    """Yield the limits of these cgroups in the files with this name, each with its file."""
    for place in places:
        if (most := _number(place / name)) is not None:
            yield most, place / name


def _number(file: Path) -> int | None:
    """Return the number in a file, or None if it has no number ("max") or can't be read, as in some containers."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
