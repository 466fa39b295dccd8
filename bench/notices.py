"""1,000 failures at once: where nobody is told, where one receiver is, and where each job has a receiver of its own."""

from __future__ import annotations

import contextlib
import json
import pwd
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import getuid
from pathlib import Path
from typing import Any

from bench.rig import cpu_seconds, daemon, pss_kib, wait_for
from jobqueued.ctl.base.client import ask

JOBS = 1000
LONGEST_WAIT = 900


def notices() -> dict[str, Any]:
    """From the due instant to the last start, and to the last message; messages; the longest turn; the scheduler's
    memory before and at its highest.
    """
    with _receiver() as (url, got):
        found = {}
        for name, target in (("nobody", ""), ("one", f"{url}/all"), ("each", f"{url}/{{}}")):
            found |= {f"{name}_{figure}": value for figure, value in _failures(target, got).items()}
        return {"jobs": JOBS, **found}


def _failures(target: str, got: list[tuple[float, int]]) -> dict[str, Any]:
    got.clear()
    text = "".join(
        f"  job-{i:04}: {{command: exit 1, on: {{event: now}}"
        + (f", notify: {{webhook: '{target.format(i)}'}}" if target else "") + "}\n"
        for i in range(JOBS)
    )  # fmt: skip
    with daemon({"jobs.yaml": f"jobs:\n{text}"}, f"notifier: {pwd.getpwuid(getuid()).pw_name}\n") as rig:
        scheduler, control = [rig.process.pid], rig.run / "control"
        before, used, turn = pss_kib(scheduler), cpu_seconds(scheduler), _longest_turn(control)
        most, due = before, time.time()
        ask(control, "Emit", 120, event="now")

        def records() -> Iterator[Path]:
            return (rig.directory / "logs").glob("*/*.json")

        def is_over() -> bool:
            nonlocal most
            most = max(most, pss_kib(scheduler))
            time.sleep(0.2)  # nobody asks the daemon meanwhile, as that would cost it
            return sum(number for _, number in got) == JOBS if target else len([*records()]) == JOBS

        wait_for(is_over, LONGEST_WAIT)
        used = cpu_seconds(scheduler) - used
        started = max(datetime.fromisoformat(json.loads(path.read_text())["started"]) for path in records())
        last = max((at for at, _ in got), default=due)
        return {
            "last_start_s": started.timestamp() - due, "messages": len(got), "last_message_s": last - due,
            "scheduler_cpu_s": used, "longest_turn_ms": max(turn, _longest_turn(control)) * 1000,
            "pss_before_mib": before / 1024, "pss_most_mib": most / 1024,
        }  # fmt: skip


def _longest_turn(control: Path) -> float:
    families = ask(control, "Metrics", 120)["families"]
    (family,) = (each for each in families if each["name"] == "jobqueue_loop_longest_turn_seconds")
    return float(family["samples"][0]["value"])


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[str, list[tuple[float, int]]]]:
    """A web server on loopback, and when each message came, with the number of notices in it."""
    got: list[tuple[float, int]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((time.time(), max(1, len(event["held_back"]) + event["not_shown"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", got
    finally:
        server.shutdown()
        server.server_close()
