"""The families of metrics in docs/metrics.md: names, types, labels, meaning."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple

JOB = "job_id"
"""The label of a job; ``job`` is reserved by Prometheus."""
OTHERS = ":others"
"""The label of all jobs, or locks, without a label of their own; no job or lock can have this name."""


class Family(NamedTuple):
    """One family: `kind` is counter, gauge, histogram or summary; `name` is without a sample's suffix (``_total``)."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value: `suffix` is added to the name of its family."""

    suffix: str
    labels: dict[str, str]
    value: float


_ALL = (
    Family("jobqueue_build_info", "gauge", "1, with the version of the daemon", ("version",)),
    Family("jobqueue_start_time_seconds", "gauge", "Instant at which the daemon was started"),
    Family("jobqueue_degraded", "gauge", "1 while the state can't be saved"),
    Family("jobqueue_launcher_up", "gauge", "1 while the launcher answers; otherwise nothing new starts"),
    Family("jobqueue_on_hold", "gauge", "1 while the host is on hold or draining, so that nothing new starts"),
    Family("jobqueue_troubles", "gauge", "Troubles of the daemon, which jobqueuectl status lists"),
    Family("jobqueue_files_refused", "gauge", "Job files that are refused"),
    Family("jobqueue_loop_turn_seconds", "histogram", "Duration of a turn of the loop, without its sleep"),
    Family("jobqueue_loop_longest_turn_seconds", "gauge", "Duration of the longest turn of the loop so far"),
    Family("jobqueue_commit_seconds", "histogram", "Duration of a commit that has succeeded"),
    Family("jobqueue_commit_failures", "counter", "Commits that have failed"),
    Family("jobqueue_kept_bytes", "gauge", "Size of the records and output that are kept, as far as it was looked at"),
    Family("jobqueue_jobs", "gauge", "Jobs in force"),
    Family("jobqueue_jobs_without_label", "gauge", f"Jobs that are counted together as {OTHERS}"),
    Family("jobqueue_attention", "gauge", "Jobs or runs that a person should look at", ("kind",)),
    Family("jobqueue_runs_unfinished", "gauge", "Runs before their end", ("state",)),
    Family("jobqueue_queue_length", "gauge", "Runs and commands of with-lock that wait for their claims"),
    Family("jobqueue_queue_head_priority", "gauge", "Effective priority of the first in the queue"),
    Family("jobqueue_queue_oldest_timestamp_seconds", "gauge", "Instant at which the oldest run in it was queued"),
    Family("jobqueue_start_delay_seconds", "histogram", "Time from when a run should start to its start"),
    Family("jobqueue_run_seconds", "histogram", "Time from the start of a run to its end, with all attempts"),
    Family("jobqueue_runs_ended", "counter", "Runs that have ended, but skips", (JOB, "state")),
    Family("jobqueue_skips", "counter", "Occurrences that were skipped", (JOB, "reason")),
    Family("jobqueue_retries", "counter", "Attempts that have failed and were followed by another", (JOB,)),
    Family("jobqueue_job_run_seconds", "summary", "Number of runs that have ended, and the time they took", (JOB,)),
    Family("jobqueue_job_failing", "gauge", "Jobs whose last run has failed: 0 or 1", (JOB,)),
    Family("jobqueue_job_live_runs", "gauge", "Runs that are live", (JOB,)),
    Family("jobqueue_job_pending_runs", "gauge", "Runs that are due, waiting or retrying", (JOB,)),
    Family("jobqueue_job_last_start_timestamp_seconds", "gauge", "Start of the last run that has ended", (JOB,)),
    Family("jobqueue_job_last_success_timestamp_seconds", "gauge", "Start of the last run that succeeded", (JOB,)),
    Family("jobqueue_lock_holders", "gauge", "Holders of a lock or resource", ("lock",)),
    Family("jobqueue_lock_waiters", "gauge", "Those who wait for a lock or resource", ("lock",)),
    Family("jobqueue_lock_held_since_timestamp_seconds", "gauge", "Begin of the longest hold", ("lock",)),
    Family("jobqueue_lock_wanted_since_timestamp_seconds", "gauge", "Begin of the longest wait", ("lock",)),
    Family("jobqueue_resource_capacity", "gauge", "Units of a resource; of memory bytes, of cpu cores", ("resource",)),
    Family("jobqueue_resource_claimed", "gauge", "Units of a resource that live runs claim", ("resource",)),
    Family("jobqueue_incidents", "gauge", "Open incidents, by what they are about", ("kind",)),
    Family("jobqueue_notices_waiting", "gauge", "Notices that wait to be sent, or are being sent", ("channel",)),
    Family("jobqueue_notice_targets_failing", "gauge", "Addresses to which notices can't be sent"),
    Family("jobqueue_job_cpus", "gauge", "CPUs that the live runs of a job use", (JOB,)),
    Family("jobqueue_job_memory_bytes", "gauge", "Memory that the live runs of a job use", (JOB,)),
    Family("jobqueue_job_tasks", "gauge", "Processes and threads of the live runs of a job", (JOB,)),
    Family("jobqueue_up", "gauge", "1 if the daemon has answered this scrape"),
    Family("jobqueue_written_timestamp_seconds", "gauge", "Instant at which the text file was written"),
)

FAMILIES = {family.name: family for family in _ALL}
"""Name → family."""
