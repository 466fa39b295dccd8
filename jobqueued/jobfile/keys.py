"""The closed table of job-file keys: accepted values, default and help; it is the only description of a key.

The parser, JSON Schema (`schema.py`) and the keys in jobqueue.d(5) come from it.
"""

from __future__ import annotations

from jobqueued.jobfile.hook_keys import HOOKS
from jobqueued.jobfile.notify_keys import LATE, NOTIFY, PING
from jobqueued.jobfile.process_types import (
    ACCOUNT,
    COMMAND,
    ENVIRONMENT,
    GROUP,
    IO,
    MODE,
    PATHS_BY_NAME,
    SIGNAL,
    SLURM_GRES,
    SLURM_LICENSES,
    SLURM_NAME,
    WORD,
    unshown,
)
from jobqueued.jobfile.queue_types import (
    CAUSE,
    CPU_AMOUNT,
    DIRECTORY,
    ESCALATION,
    EVENT,
    HOSTS,
    ID,
    LOCKS,
    PATH,
    RESOURCES,
    UNITS,
)
from jobqueued.jobfile.scalars import (
    FLAG,
    Key,
    choice,
    duration,
    integer,
    number,
    optional,
    or_unbounded,
    size,
    table,
    text,
)
from jobqueued.jobfile.time_types import EXPRESSION, SECONDS, WHEN, ZONE
from jobqueued.jobfile.types import (
    ANYTHING,
    mapping,
    one_or_more,
    section,
)
from jobqueued.jobfile.words import NAME
from jobqueued.model import CatchUp, OnHostLoss, Overlap, Scope

_BYTES = optional(size("0", "1000000T"), "unlimited")
_RATE = size("1K", "1000000T")

RESOURCE_LIMITS = table(
    Key("cpu", CPU_AMOUNT, "", "CPU cores that the run may use at a time.", "0.5"),
    Key("memory", _RATE, "", "Memory that it may use, page cache included; beyond this it is killed.", "512M"),
    Key("memory_high", _RATE, "", "Memory that it may use before it is slowed down.", "400M"),
    Key("swap", _BYTES, "", "Memory that it may swap out.", "0"),
    Key("tasks", UNITS, "", "Processes and threads that it may have.", "64"),
    Key("io_read", _RATE, "", "Bytes per second that it may read from each disk.", "20M"),
    Key("io_write", _RATE, "", "Bytes per second that it may write to each disk.", "20M"),
    Key("open_files", UNITS, "", "RLIMIT_NOFILE: open files of each process.", "1024"),
    Key("file_size", _BYTES, "", "RLIMIT_FSIZE: size of a file that is written.", "1G"),
    Key("core", _BYTES, "", "RLIMIT_CORE: size of a core dump.", "0"),
    Key("cpu_time", duration("1s", "365d"), "", "RLIMIT_CPU: CPU time of each process.", "1h"),
    Key("stack", _BYTES, "", "RLIMIT_STACK: stack of each process.", "8M"),
    Key("locked_memory", _BYTES, "", "RLIMIT_MEMLOCK: locked memory of each process.", "64K"),
    Key("address_space", _BYTES, "", "RLIMIT_AS: address space of each process.", "4G"),
    Key("processes", UNITS, "", "RLIMIT_NPROC: processes of the user on this host.", "256"),
    Key("data", _BYTES, "", "RLIMIT_DATA: data segment of each process.", "1G"),
    Key("msgqueue", _BYTES, "", "RLIMIT_MSGQUEUE: POSIX message queues of the user.", "800K"),
    Key("sigpending", UNITS, "", "RLIMIT_SIGPENDING: queued signals of the user.", "1000"),
)  # fmt: skip

RETENTION = table(
    Key("runs", integer(1, 1_000_000), "100", "Records to keep, and as many of skips.", "500"),
    Key("age", duration("1h", "36500d"), "90d", "Age up to which records are kept.", "365d"),
    Key("bytes", size("1M", "999T"), "1G", "Space for records and output.", "10G"),
)

SLURM = table(
    Key("partition", SLURM_NAME, "", "Partition of its jobs; by default that of Slurm.", "long"),
    Key("account", SLURM_NAME, "", "Account that its jobs are charged to; by default that of their user.", "physics"),
    Key("qos", SLURM_NAME, "", "Quality of service that its jobs ask for; by default that of their account.", "high"),
    Key("gres", SLURM_GRES, "", "Generic resources of the node, as sbatch(1) has them.", '"gpu:2"'),
    Key(
        "licenses",
        SLURM_LICENSES,
        "{}",
        "Licenses that Slurm counts, and how many of each its jobs hold.",
        "{matlab: 1}",
    ),
    Key(
        "directory",
        PATH,
        "",
        "Directory that this host and the nodes have in common, for what runs need; by default that in which the "
        "command starts.",
        "/shared/jobqueue",
    ),
)

GROUPS: dict[str, dict[str, Key]] = {
    "The command": table(
        Key("description", WORD, '""', "Purpose of the job, in a few words.", "Dump the databases"),
        Key("command", COMMAND, "", "Program to run: a list is executed as it is, a text is passed to `shell` -c.",
            "[/usr/local/bin/backup, --full]"),
        Key("shell", PATH, "/bin/sh", "Shell that runs a `command` given as a text.", "/bin/bash"),
        Key("stdin", unshown(WORD), '""', "Text that the command reads from its standard input.", "hello"),
        Key("working_directory", DIRECTORY, "",
            "Directory in which the command starts; by default the user's home. With a - before it the command starts "
            "in / where it can't be entered, and the record has a warning.", "/srv"),
        Key("environment", ENVIRONMENT, "{}",
            "Variables for the command, in addition to those that every run gets; only root and the job's user see "
            "their values.", "{LANG: C.UTF-8}"),
        Key("environment_file", one_or_more(PATH), "", "Files of variables for the command.", "/etc/default/backup"),
        Key("umask", MODE, "", "File mode creation mask, the mode bits that new files do not get; by default 0022.",
            "0027"),
        Key("user", ACCOUNT, "", "User that runs the command; by default the daemon's own.", "backup"),
        Key("group", GROUP, "", "Group of the command; by default the user's primary group.", "backup"),
        Key("groups", one_or_more(GROUP, least=0), "",
            "Supplementary groups of the command; by default those of the user; for root, those of the daemon.",
            "[tape, adm]"),
        Key("login_environment", FLAG, "false", "Give the command the environment of a login of the user.", "true"),
        Key("credentials", PATHS_BY_NAME, "{}",
            "Secret files that only the run can read, below $CREDENTIALS_DIRECTORY.", "{token: /etc/backup/token}",
            planned=True),
    ),
    "When it is due": table(
        Key("schedule", one_or_more(EXPRESSION), "",
            "Times at which the job is due: a cron expression, or a list of them.", '"0 2 * * *"'),
        Key("seconds", SECONDS, "", "Seconds of each minute of `schedule` at which the job is due; by default 0.",
            '"*/10"'),
        Key("timezone", ZONE, "", "Time zone of `schedule` and `at`; by default that of jobqueued.yaml.",
            "Europe/Berlin"),
        Key("dst", choice("cron", "once", "both", "skip"), "cron",
            "Rule for times that a clock change skips or repeats.", "once"),
        Key("every", optional(duration("1s", "365d")), "none",
            "Interval of elapsed time, counted from `anchor`, at which the job is due.", "90m"),
        Key("anchor", WHEN, "1970-01-01T00:00Z", "Instant from which `every` counts.", "2027-01-31T02:00"),
        Key("at", WHEN, "", "Instant at which the job is due, once.", "2027-01-31T02:00"),
        Key("on", one_or_more(EVENT), "",
            "Events that make the job due: `boot` is the first start of the daemon after each boot of the host.",
            "boot"),
        Key("spread", duration("0s", "1d"), "0s",
            "Longest delay of a start; each job has a fixed share of it, so that jobs due together do not all start "
            "together.", "10m"),
        Key("catch_up", choice(*CatchUp), "latest",
            "Occurrences that still run after they were missed by more than `grace`.", "all"),
        Key("catch_up_window", duration("1m", "365d"), "1d", "Time that `catch_up` looks back.", "12h"),
        Key("grace", duration("0s", "1d"), "1m", "Lateness up to which an occurrence does not count as missed.", "5m"),
        Key("start_deadline", optional(duration("1s", "365d")), "none",
            "Time after which a due run that has not started is skipped.", "1h"),
        Key("enabled", FLAG, "true", "Let the clock and events start the job.", "false"),
        Key("max_runs", optional(integer(1, 1_000_000_000)), "none", "Number of runs after which the job is completed.",
            "100"),
    ),
    "The queue": table(
        Key("priority", integer(-1000, 1000), "0", "Rank in the queue: runs of higher priority go first.", "10"),
        Key("escalation", ESCALATION, "",
            "Growth of the priority while a run waits; by default that of jobqueued.yaml.",
            "{points: 5, every: 1m}"),
        Key("scope", choice(*Scope), "host",
            "Hosts of which one runs each occurrence: this one, or all of its fleet, which is that of jobqueued.yaml.",
            "fleet"),
        Key("hosts", HOSTS, "", "Hosts of its fleet that may run a job: those that have all of these `labels`.",
            "{labels: [gpu]}"),
        Key("on_host_loss", choice(*OnHostLoss), "lost",
            "Fate of a run of the fleet whose host is gone for longer than `lock_grace`: it is `lost`, which another "
            "host tells, or that host runs it again, once; it may have ended well.", "rerun"),
        Key("exclusive", FLAG, "false", "Run alone on this host.", "true"),
        Key("concurrency", integer(1, 1000), "1", "Runs of this job that may be live at a time.", "2"),
        Key("overlap", choice(*Overlap), "queue",
            "Action when a run comes due while the job is at its `concurrency`: queue it, skip it, or let it replace "
            "the live one, which is stopped.", "skip"),
        Key("max_waiting", or_unbounded(integer(1, 100_000)), "",
            "Runs of this job that may wait; further ones are skipped. By default 1 by the clock, 100 otherwise; "
            "`none`: no limit.", "5"),
        Key("locks", LOCKS, "", "Locks that a run holds while it is live.",
            "[database, {name: tape, mode: shared}, {name: license, units: 2}]"),
        Key("resources", RESOURCES, "{}",
            "Resources that a run holds while it is live: cpu, memory, and the units of jobqueued.yaml.",
            "{cpu: 1, memory: 400M, gpu: 1}"),
        Key("placement", choice("spread", "pack", "none"), "none",
            "Choice of units, and of CPUs to run on: `spread` takes those least used, `pack` the first free, `none` "
            "leaves the CPUs alone.",
            "spread"),
        Key("dependencies", one_or_more(ID, least=0), "", "Jobs that must succeed before this one runs.",
            "[rotate-logs]"),
        Key("dependency_timeout", duration("1s", "365d"), "1d", "Time that a run waits for its `dependencies`.", "2h"),
        Key("on_dependency_failure", choice("skip", "run"), "skip",
            "Action when a dependency has failed: skip the run, or run it all the same.", "run"),
        Key("drain", duration("1s", "365d"), "1h",
            "Time that a run may keep others waiting while a run without `timeout` holds what it needs.", "10m"),
    ),
    "The end of a run": table(
        Key("timeout", optional(duration("1s", "365d")), "none", "Time after which a live run is stopped.", "2h"),
        Key("kill_grace", duration("0s", "1h"), "10s", "Time between `stop_signal` and SIGKILL.", "30s"),
        Key("stop_signal", SIGNAL, "SIGTERM", "Signal that asks a run to stop.", "SIGINT"),
        Key("success_codes", one_or_more(integer(0, 255)), "[0]", "Exit codes that mean success.", "[0, 24]"),
        Key("retries", integer(0, 1000), "0", "Further attempts after a failure.", "3"),
        Key("retry_delay", duration("0s", "30d"), "1m",
            "Time between a failure and the next attempt; from the sixth retry on it is 1s at least.", "5m"),
        Key("retry_backoff", number(1, 10), "1", "Factor by which `retry_delay` grows with each attempt.", "2"),
        Key("retry_max_delay", optional(duration("1s", "30d")), "none", "Upper bound of the delay.", "1h"),
        Key("retry_on", one_or_more(CAUSE), "", "Failures to try again after; by default all but `lost`.",
            "[75, timeout]"),
        Key("failover", COMMAND, "", "Command to run after the last attempt has failed.",
            "/usr/local/bin/backup-to-disk"),
        Key("leave_children", FLAG, "false",
            "Leave processes alone that outlive the command, instead of stopping them.", "true"),
    ),
    "Slurm": table(
        Key("runner", choice("local", "slurm"), "local",
            "Place of its runs: this host, or a node of Slurm, which this host can submit to.", "slurm"),
        Key("slurm", section(SLURM), "{}", "Choices that its jobs on Slurm are submitted with.",
            "{partition: long, licenses: {matlab: 1}}"),
    ),
    "Limits and scheduling": table(
        Key("resource_limits", section(RESOURCE_LIMITS), "{}", "Limits on a run, enforced by the kernel.",
            "{open_files: 4096, core: 0}"),
        Key("enforce", choice("required", "best_effort"), "best_effort",
            "Action if this host can't enforce a limit: `required` does not start the run.", "required"),
        Key("nice", integer(-20, 19), "0", "Nice value of the command: lower values get more CPU.", "10"),
        Key("ionice", IO, "", "I/O scheduling class of the command.", "idle"),
        Key("cpu_scheduling", text("other, batch, idle, or fifo:N or rr:N, N from 1 to 99",
            "other|batch|idle|(fifo|rr):[1-9][0-9]?"), "other", "CPU scheduling policy of the command.", "batch"),
        Key("oom_score_adj", integer(-1000, 1000), "0",
            "OOM score adjustment: when memory is short, the kernel kills high scores first.", "500"),
        Key("no_new_privs", FLAG, "false", "Keep the command from gaining privileges, as by set-user-ID programs.",
            "true"),
    ),
    "Output and records": table(
        Key("output", choice("both", "file", "journal", "none"), "both",
            "Destination of the output: a file beside the record, the journal (line by line), both or none.",
            "file"),
        Key("output_limit", size("1K", "1T"), "64M", "Size up to which the file keeps the output of a run.", "512M"),
        Key("journal_rate", integer(1, 1_000_000), "100",
            "Lines of output per second that go to the journal; ten times as many in a burst.", "20"),
        Key("redact", one_or_more(text("a text that is not empty")), "",
            "Words of `command` and `failover` that are shown as ***: in records to everybody, elsewhere to all but "
            "root and the job's user.", "[hunter2]"),
        Key("retention", section(RETENTION), "{}", "History to keep of the job.", "{runs: 500}",
            planned=True),
        Key("notify", NOTIFY, "{}", "Notices to send, and their recipients.",
            "{on: failure, email: ops@example.org}"),
        Key("ping", PING, "",
            "Check of healthchecks.io or its like that is told of each start, success and failure; what is behind the "
            "host is shown to root and the job's user only.", "https://hc-ping.com/UUID"),
        Key("telemetry_hooks", HOOKS, "", "Programs that get the record of each run while it lives and at its end, and "
            "may add to it.", "[/usr/local/bin/push-metrics]"),
        Key("late", LATE, "true",
            "Time after which a notice says, once, that a run has not started or not ended: by default three times the "
            "mean, but at least the longest of the last 99, and 1m (10m while fewer than 20 are known); `false`: "
            "never.",
            "{after: 2h}"),
        Key("expect", optional(duration("1s", "365d")), "none",
            "Longest time between two successes: after it, one notice says that the job is overdue, "
            "even while it is paused or invalid, or was removed from its file.", "26h"),
        Key("tags", one_or_more(text("a text without a comma", "(?s)[^,]+")), "", "Labels to find jobs by.",
            "[backup, nightly]"),
        Key("metadata", ANYTHING, "", "Data of any kind, copied to each record; 1.10 and 0x1F stay what is written.",
            "{owner: ops}"),
    ),
}  # fmt: skip

JOB_KEYS = {name: key for group in GROUPS.values() for name, key in group.items()}

_JOB = {"$ref": "#/definitions/job"}

FILE_KEYS = table(
    Key("defaults", mapping("a mapping of job keys", dict, {"allOf": [_JOB]}), "{}", "Keys that the file's jobs share.",
        "{user: backup}"),
    Key("jobs", mapping("a mapping of ids to jobs", dict,
        {"propertyNames": {"pattern": f"^(?:{NAME})$"}, "additionalProperties": _JOB}), "{}", "The jobs by id.",
        "{hello: {command: echo hi}}"),
)  # fmt: skip
