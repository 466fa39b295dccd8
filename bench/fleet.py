"""The agent of a fleet beside bare transactions of the same etcd: what claims take, alone and at once, and memory."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from jobqueued.child.fleet import lines
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import coded
from tests.support.etcd import cluster
from tests.support.fleet_agent import Agent, agents, pss, question_of

_ALONE, _AT_ONCE = 500, 20_000
_BEGIN = 1_772_409_660


def fleet() -> dict[str, Any]:
    """500 claims, each after a bare transaction that writes such a key; then 20,000 at once, and a scheduler that
    begins is told of the last of them, and of all.  Three members, without fsync.
    """
    with tempfile.TemporaryDirectory(prefix="jobqueued-bench-") as name, cluster(Path(name)) as etcd:
        address = etcd.members[0].clients
        with agents(Path(name), address, "bench") as (agent,):
            at_rest = pss(agent.process.pid)
            gateway, heard, seconds = Gateway([address], 5), agent.connection.makefile("rb"), itertools.count(_BEGIN)
            pairs = [(_bare(gateway, next(seconds)), _claimed(agent, heard, seconds, 1)) for _ in range(_ALONE)]
            bare, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
            at_once = _AT_ONCE / _claimed(agent, heard, seconds, _AT_ONCE)
            return {
                "bare_ms": bare * 1000, "claim_ms": alone * 1000, "ratio_to_bare": alone / bare,
                "claims_a_second_alone": 1 / alone, "claims_a_second_at_once": at_once,
                "ratio_to_alone": at_once * alone,
                "told_last_s": _told(agent, next(seconds) - 1), "told_all_s": _told(agent, 0),
                "agent_at_rest_mib": at_rest / 1024, "agent_afterwards_mib": pss(agent.process.pid) / 1024,
            }  # fmt: skip


def _bare(gateway: Gateway, second: int) -> float:
    """Seconds of a transaction that writes a key if it is not there."""
    key = coded(f"/bench/{second}")
    begin = time.perf_counter()
    gateway.call("kv/txn", {
        "compare": [{"key": key, "target": "CREATE", "create_revision": "0"}],
        "success": [{"request_put": {"key": key, "value": coded("bench")}}],
    })  # fmt: skip
    return time.perf_counter() - begin


def _claimed(agent: Agent, heard: BinaryIO, seconds: Iterator[int], count: int) -> float:
    """Seconds until the last of so many occurrences is granted."""
    asked = [lines.encode(question_of("bench", f"f{next(seconds)}")) for _ in range(count)]
    begin = time.perf_counter()
    agent.connection.sendall(b"".join(asked))
    while count:
        count -= lines.decode(heard.readline())[0] == "granted"
    return time.perf_counter() - begin


def _told(agent: Agent, since: int) -> float:
    """Seconds until a scheduler that has begun may ask, as it knows all occurrences since that second."""
    begin = time.perf_counter()
    agent.hello(bench=since)
    with agent.connection.makefile("rb") as heard:
        while lines.decode(heard.readline()) != ["up", ""]:
            pass
    return time.perf_counter() - begin
