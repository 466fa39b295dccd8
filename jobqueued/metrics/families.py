"""The families of metrics in docs/metrics.md: names, types, labels and meanings."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple

JOB = "job_id"
"""Name of the label with a job's ID. Prometheus reserves ``job``."""
OTHERS = ":others"
"""Label value for all jobs or locks without a separate label; no job or lock can have this name."""


class Family(NamedTuple):
    """One family of metrics. `kind` is counter, gauge, histogram or summary; `name` does not include a sample's suffix
    (``_total``).
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a family; `suffix` is appended to the family's name."""

    suffix: str
    labels: dict[str, str]
    value: float


_ALL = (
    Family("jobqueue_build_info", "gauge", "1, with the version of the daemon", ("version",)),
    Family("jobqueue_start_time_seconds", "gauge", "Start of the daemon"),
    Family("jobqueue_degraded", "gauge", "1 while the state can't be saved"),
    Family("jobqueue_launcher_up", "gauge", "1 while the launcher answers; otherwise nothing new starts"),
    Family("jobqueue_on_hold", "gauge", "1 while the host is on hold or draining, so that nothing new starts"),
    Family("jobqueue_troubles", "gauge", "Problems of the daemon; jobqueuectl status lists them"),
    Family("jobqueue_files_refused", "gauge", "Refused job files"),
    Family("jobqueue_loop_turn_seconds", "histogram", "Duration of a turn of the loop, without its sleep"),
    Family("jobqueue_loop_longest_turn_seconds", "gauge", "Duration of the longest turn of the loop so far"),
    Family("jobqueue_commit_seconds", "histogram", "Duration of a successful commit"),
    Family("jobqueue_commit_failures", "counter", "Failed commits"),
    Family("jobqueue_kept_bytes", "gauge", "Retained records and output, and 8 KiB for each run, as far as measured"),
    Family("jobqueue_jobs", "gauge", "Jobs in force"),
    Family("jobqueue_jobs_without_label", "gauge", f"Jobs that share the label {OTHERS}"),
    Family("jobqueue_attention", "gauge", "Jobs or runs that need attention", ("kind",)),
    Family("jobqueue_runs_unfinished", "gauge", "Runs that have not ended", ("state",)),
    Family("jobqueue_queue_length", "gauge", "Runs and with-lock commands that wait for locks or resources"),
    Family("jobqueue_queue_head_priority", "gauge", "Effective priority of the first entry of the queue"),
    Family("jobqueue_queue_oldest_timestamp_seconds", "gauge", "Time at which the oldest run in the queue was queued"),
    Family("jobqueue_start_delay_seconds", "histogram", "Time from the planned to the actual start of a run"),
    Family("jobqueue_run_seconds", "histogram", "Time from the start of a run to its end, including all attempts"),
    Family("jobqueue_runs_ended", "counter", "Ended runs, without skips", (JOB, "state")),
    Family("jobqueue_skips", "counter", "Skipped occurrences", (JOB, "reason")),
    Family("jobqueue_retries", "counter", "Failed attempts that another attempt followed", (JOB,)),
    Family("jobqueue_job_run_seconds", "summary", "Number and total duration of ended runs", (JOB,)),
    Family("jobqueue_job_failing", "gauge", "Jobs whose last run failed: 0 or 1 for one job", (JOB,)),
    Family("jobqueue_job_live_runs", "gauge", "Live runs", (JOB,)),
    Family("jobqueue_job_pending_runs", "gauge", "Runs that are due, waiting or retrying", (JOB,)),
    Family("jobqueue_job_last_start_timestamp_seconds", "gauge", "Start of the run that ended last", (JOB,)),
    Family("jobqueue_job_last_success_timestamp_seconds", "gauge", "Start of the last successful run", (JOB,)),
    Family("jobqueue_lock_holders", "gauge", "Holders of a lock or resource", ("lock",)),
    Family("jobqueue_lock_waiters", "gauge", "Runs and commands that wait for a lock or resource", ("lock",)),
    Family("jobqueue_lock_held_since_timestamp_seconds", "gauge", "Start of the longest hold", ("lock",)),
    Family("jobqueue_lock_wanted_since_timestamp_seconds", "gauge", "Start of the longest wait", ("lock",)),
    Family("jobqueue_resource_capacity", "gauge", "Units of a resource; bytes of memory, cores of cpu", ("resource",)),
    Family("jobqueue_resource_claimed", "gauge", "Units of a resource that live runs hold", ("resource",)),
    Family("jobqueue_incidents", "gauge", "Open incidents by kind", ("kind",)),
    Family("jobqueue_notices_waiting", "gauge", "Notices that are not sent yet", ("channel",)),
    Family("jobqueue_notice_targets_failing", "gauge", "Addresses to which notices can't be sent"),
    Family("jobqueue_job_cpus", "gauge", "CPUs that the live runs of a job use", (JOB,)),
    Family("jobqueue_job_memory_bytes", "gauge", "Memory that the live runs of a job use", (JOB,)),
    Family("jobqueue_job_tasks", "gauge", "Processes and threads of the live runs of a job", (JOB,)),
    Family("jobqueue_up", "gauge", "1 if the daemon replied to this scrape, else 0"),
    Family("jobqueue_written_timestamp_seconds", "gauge", "Time at which the text file was written"),
)

FAMILIES = {family.name: family for family in _ALL}
"""Name → family."""
