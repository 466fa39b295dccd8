"""jobqueuectl list: all jobs, one a line."""

from __future__ import annotations

import click

from jobqueued.config import Paths
from jobqueued.ctl.client import ask
from jobqueued.ctl.terminal import distance, json_option, print_json, print_table, styled


@click.command("list")
@json_option
@click.pass_obj
def list_jobs(paths: Paths, as_json: bool) -> None:
    """List all jobs, one a line.

    NEXT is when the clock starts it again, LAST when it last ran, ENDED how that ended.
    """
    answer = ask(paths.control, "List")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("JOB", "STATUS", "NEXT", "LAST", "ENDED", "PRIORITY", "SCHEDULE", "DESCRIPTION"),
        (
            (
                job["id"],
                styled(job["status"]),
                distance(job["next"]),
                distance(job["last_run"]),
                styled(job["last_state"]),
                str(job["priority"]),
                ", ".join(job["schedule"]) or "-",
                job["description"],
            )
            for job in answer["jobs"]
        ),
    )
