"""Processes that live lives, each on a CPU of its own."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.sharedctypes import Synchronized


def workers(count: int) -> ProcessPoolExecutor:
    """So many.  The threads of a life take turns: where each turn wakes up another CPU, it takes half as long again."""
    return ProcessPoolExecutor(count, initializer=_stay, initargs=(multiprocessing.Value("i", 0),))


def _stay(begun: Synchronized[int]) -> None:
    with begun.get_lock():
        number, begun.value = begun.value, begun.value + 1
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})
