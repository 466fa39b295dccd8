"""The complete table of job-file keys, with each key's accepted values, default and help.

The parser, the JSON Schema (`schema.py`) and the list of keys in jobqueue.d(5) use this table only.
"""

from __future__ import annotations

from jobqueued.jobfile.keys.hook_keys import HOOKS
from jobqueued.jobfile.keys.notify_keys import LATE, NOTIFY, PING
from jobqueued.jobfile.tree.words import NAME
from jobqueued.jobfile.types.process_types import (
    ACCOUNT,
    COMMAND,
    ENVIRONMENT,
    GROUP,
    IO,
    MODE,
    OUTPUT,
    PATHS_BY_NAME,
    SIGNAL,
    SLURM_GRES,
    SLURM_LICENSES,
    SLURM_NAME,
    WORD,
    unshown,
)
from jobqueued.jobfile.types.queue_types import (
    CAUSE,
    CPU_AMOUNT,
    DIRECTORY,
    ESCALATION,
    EVENT,
    HOSTS,
    ID,
    LOCKS,
    PATH,
    RATE,
    RESOURCES,
    UNITS,
)
from jobqueued.jobfile.types.scalars import (
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
from jobqueued.jobfile.types.time_types import EXPRESSION, SECONDS, WHEN, ZONE
from jobqueued.jobfile.types.types import ANYTHING, mapping, one_or_more, section
from jobqueued.model.job import CatchUp, OnHostLoss, Overlap, Scope

_BYTES = optional(size("0", "1000000T"), "unlimited")
_RATE = size("1K", "1000000T")

RESOURCE_LIMITS = table(
    Key("cpu", CPU_AMOUNT, "", "CPU cores that the processes of the run can use together.", "0.5"),
    Key(
        "memory",
        _RATE,
        "",
        "Memory limit of the run, including its page cache. A run that exceeds the limit is killed.",
        "512M",
    ),
    Key("memory_high", _RATE, "", "Memory of the run above which the kernel slows the run down.", "400M"),
    Key("swap", _BYTES, "", "Swap space that the run can use.", "0"),
    Key("tasks", UNITS, "", "Processes and threads that the run can have at the same time.", "64"),
    Key("io_read", _RATE, "", "Bytes per second that the run can read from each disk.", "20M"),
    Key("io_write", _RATE, "", "Bytes per second that the run can write to each disk.", "20M"),
    Key("open_files", UNITS, "", "Open files of each process (RLIMIT_NOFILE).", "1024"),
    Key("file_size", _BYTES, "", "Size of each file that the run writes (RLIMIT_FSIZE).", "1G"),
    Key("core", _BYTES, "", "Size of a core dump (RLIMIT_CORE).", "0"),
    Key("cpu_time", duration("1s", "365d"), "", "CPU time of each process (RLIMIT_CPU).", "1h"),
    Key("stack", _BYTES, "", "Stack of each process (RLIMIT_STACK).", "8M"),
    Key("locked_memory", _BYTES, "", "Locked memory of each process (RLIMIT_MEMLOCK).", "64K"),
    Key("address_space", _BYTES, "", "Address space of each process (RLIMIT_AS).", "4G"),
    Key(
        "processes",
        UNITS,
        "",
        "Processes and threads of the run's user (RLIMIT_NPROC). All processes and threads of this user on the host "
        "count.",
        "256",
    ),
    Key("data", _BYTES, "", "Data segment of each process (RLIMIT_DATA).", "1G"),
    Key("msgqueue", _BYTES, "", "POSIX message queues of the run's user (RLIMIT_MSGQUEUE).", "800K"),
    Key("sigpending", UNITS, "", "Queued signals of the run's user (RLIMIT_SIGPENDING).", "1000"),
)

RETENTION = table(
    Key(
        "runs",
        integer(1, 1_000_000),
        "100",
        "Records of runs to keep for each job, and the same number of records of skips.",
        "500",
    ),
    Key("age", duration("1h", "36500d"), "90d", "Age above which a record is deleted.", "365d"),
    Key(
        "bytes",
        size("1M", "999T"),
        "1G",
        "Space for the records and output of each job, and 8 KiB for each run. Beyond this limit, the oldest are "
        "deleted.",
        "10G",
    ),
)

SLURM = table(
    Key("partition", SLURM_NAME, "", "Partition to submit to. The default is Slurm's default partition.", "long"),
    Key(
        "account",
        SLURM_NAME,
        "",
        "Account that is charged for the runs. The default is the user's default account in Slurm.",
        "physics",
    ),
    Key(
        "qos",
        SLURM_NAME,
        "",
        "Quality of service to request. The default is the account's default in Slurm.",
        "high",
    ),
    Key(
        "gres", SLURM_GRES, "", "Generic resources of the node that a run gets, in the format of sbatch(1).", '"gpu:2"'
    ),
    Key(
        "licenses",
        SLURM_LICENSES,
        "{}",
        "Licenses that Slurm counts, and the number of each that a run holds.",
        "{matlab: 1}",
    ),
    Key(
        "directory",
        PATH,
        "",
        "Directory that this host and the nodes share. The job's user must be able to write to it. Each attempt "
        "keeps its "
        "files there until the attempt ends. The default is the directory where the command starts.",
        "/shared/jobqueue",
    ),
)

GROUPS: dict[str, dict[str, Key]] = {
    "The command": table(
        Key("description", WORD, '""', "Purpose of the job, in a few words.", "Dump the databases"),
        Key("command", COMMAND, "",
            "Program to run. A list is executed directly, without a shell. A string is run by `shell` -c.",
            "[/usr/local/bin/backup, --full]"),
        Key("shell", PATH, "/bin/sh", "Shell that runs a `command` that is a string.", "/bin/bash"),
        Key("stdin", unshown(WORD), '""', "Text that the command reads from its standard input.", "hello"),
        Key("working_directory", DIRECTORY, "",
            "Directory where the command starts. The default is the user's home directory. If a - precedes the path "
            "and the directory can't be entered, the command starts in / and the record has a warning.", "/srv"),
        Key("environment", ENVIRONMENT, "{}",
            "Variables for the command, in addition to the variables that every run gets. Only root and the job's "
            "user see their values.", "{LANG: C.UTF-8}"),
        Key("environment_file", one_or_more(PATH), "",
            "Files with variables for the command, one NAME=VALUE a line. Variables of `environment` override those "
            "of the files.", "/etc/default/backup"),
        Key("umask", MODE, "",
            "File mode creation mask: the permission bits that new files do not get. The default is 0022.", "0027"),
        Key("user", ACCOUNT, "", "User that runs the command. The default is the daemon's own user.", "backup"),
        Key("group", GROUP, "", "Primary group of the command. The default is the user's primary group.", "backup"),
        Key("groups", one_or_more(GROUP, least=0), "",
            "Supplementary groups of the command. The default is the user's groups. For root's job without "
            "`group`, the default is the daemon's groups.", "[tape, adm]"),
        Key("login_environment", FLAG, "false",
            "Give the command the environment that the user has after a login.", "true"),
        Key("credentials", PATHS_BY_NAME, "{}",
            "Secret files that only the run can read, below $CREDENTIALS_DIRECTORY.", "{token: /etc/backup/token}",
            planned=True),
    ),
    "When it is due": table(
        Key("schedule", one_or_more(EXPRESSION), "",
            "Times at which the job is due: a cron expression, or a list of them.", '"0 2 * * *"'),
        Key("seconds", SECONDS, "",
            "Seconds of each minute of `schedule` at which the job is due. The default is 0.", '"*/10"'),
        Key("timezone", ZONE, "",
            "Time zone of `schedule`, and of an `at` or `anchor` without an offset. The default is `timezone` of "
            "jobqueued.yaml. For a job with `scope: fleet`, the default is `timezone` of the fleet.", "Europe/Berlin"),
        Key("dst", choice("cron", "once", "both", "skip"), "cron",
            "Rule for times that a clock change skips or repeats.", "once"),
        Key("every", optional(duration("1s", "365d")), "none",
            "Interval at which the job is due, in elapsed time since `anchor`.", "90m"),
        Key("anchor", WHEN, "1970-01-01T00:00Z", "Instant from which `every` counts.", "2027-01-31T02:00"),
        Key("at", WHEN, "", "Instant at which the job is due once.", "2027-01-31T02:00"),
        Key("on", one_or_more(EVENT), "",
            "Events that make the job due. `boot` is the first start of the daemon after each boot of the host.",
            "boot"),
        Key("spread", duration("0s", "1d"), "0s",
            "Longest delay of a scheduled start. Each job has a fixed delay up to this limit, so "
            "jobs that are due together start at different times.", "10m"),
        Key("catch_up", choice(*CatchUp), "latest",
            "Missed occurrences that run after downtime, a suspend or a clock change. An occurrence is missed if it "
            "is late by more than `grace`.", "all"),
        Key("catch_up_window", duration("1m", "365d"), "1d",
            "Age up to which `catch_up` runs missed occurrences.", "12h"),
        Key("grace", duration("0s", "1d"), "1m",
            "Longest delay with which an occurrence does not yet count as missed.", "5m"),
        Key("start_deadline", optional(duration("1s", "365d")), "none",
            "Longest time between a due time (plus `spread`) and the start of its run. A run that does not start in "
            "this time is skipped.", "1h"),
        Key("enabled", FLAG, "true",
            "Let the clock and events make the job due. With `false`, the job runs only on request (`jobqueuectl "
            "run`).", "false"),
        Key("max_runs", optional(integer(1, 1_000_000_000)), "none",
            "Number of runs after which the job is completed. Retries do not count.", "100"),
    ),
    "The queue": table(
        Key("priority", integer(-1000, 1000), "0",
            "Rank in the queue. A run with a higher priority starts first.", "10"),
        Key("escalation", ESCALATION, "",
            "How fast a run's priority grows while the run waits. The default is `escalation` of jobqueued.yaml.",
            "{points: 5, every: 1m}"),
        Key("scope", choice(*Scope), "host",
            "Hosts that share the occurrences of the job. `host`: each host that has the file runs every occurrence. "
            "`fleet`: for each occurrence, one host of the fleet in jobqueued.yaml runs the job.", "fleet"),
        Key("hosts", HOSTS, "",
            "Hosts of the fleet that can run the job: those with all of these `labels`.", "{labels: [gpu]}",
            needs="scope: fleet"),
        Key("on_host_loss", choice(*OnHostLoss), "lost",
            "Action for an unfinished run of a fleet job if its host is unreachable for longer than `lock_grace`. "
            "`lost`: another host records the run as lost. `rerun`: another host runs the job again, once. The "
            "first run might have succeeded.", "rerun"),
        Key("exclusive", FLAG, "false",
            "Run alone on this host: a run starts only while no other run is live, and no other run starts until it "
            "ends.", "true"),
        Key("concurrency", integer(1, 1000), "1", "Runs of this job that can be live at the same time.", "2"),
        Key("rate", optional(RATE), "none",
            "Number of runs that can start in a time. So many runs can start at once, and after that one run in each "
            "even part of the time: with `20/1d`, 20 runs, and then a run every 72 minutes. A run above the rate "
            "waits. Further attempts of a run do not count.", "20/1d"),
        Key("overlap", choice(*Overlap), "queue",
            "Action if a run becomes due while as many runs are live as `concurrency` allows. `queue`: the new run "
            "waits. `skip`: the new run is skipped. `replace`: the live run is stopped, and the new run starts.",
            "skip"),
        Key("max_waiting", or_unbounded(integer(1, 100_000)), "",
            "Runs of this job that can wait at the same time. Runs above this limit are skipped. The default is 1 "
            "for scheduled "
            "runs, and 100 for other runs. `none`: no limit.", "5"),
        Key("locks", LOCKS, "", "Locks that a run holds while it is live.",
            "[database, {name: tape, mode: shared}, {name: license, units: 2}]"),
        Key("resources", RESOURCES, "{}",
            "Resources that a run holds while it is live: cpu, memory, and the resources that jobqueued.yaml defines "
            "(`resources`).", "{cpu: 1, memory: 400M, gpu: 1}"),
        Key("placement", choice("spread", "pack", "none"), "none",
            "Choice of units of the resources, and of CPUs, for a run. `spread`: the least used ones. `pack`: the "
            "first free ones. `none`: the least used units, and no choice of CPUs. CPUs are chosen only for a run "
            "with cpu in `resources`.", "spread"),
        Key("dependencies", one_or_more(ID, least=0), "",
            "Jobs that must succeed before this job runs.", "[rotate-logs]"),
        Key("dependency_timeout", duration("1s", "365d"), "1d",
            "Longest time that a run waits for its `dependencies`. After this time, an unfinished dependency counts "
            "as failed.", "2h"),
        Key("on_dependency_failure", choice("skip", "run"), "skip",
            "Action if a dependency failed. `skip`: the run is skipped. `run`: the run starts anyway.", "run"),
        Key("drain", duration("1s", "365d"), "1h",
            "Longest time that a waiting run keeps other runs from starting, while a run without `timeout` holds what "
            "the waiting run needs. A user's run with a longer `timeout` counts as a run without.", "10m"),
    ),
    "The end of a run": table(
        Key("timeout", optional(duration("1s", "365d")), "none",
            "Longest time that an attempt can take. After this time, the attempt is stopped and counts as failed.",
            "2h"),
        Key("kill_grace", duration("0s", "1h"), "10s",
            "Time between `stop_signal` and SIGKILL, when a run is stopped.", "30s"),
        Key("stop_signal", SIGNAL, "SIGTERM", "Signal that asks a run to end.", "SIGINT"),
        Key("success_codes", one_or_more(integer(0, 255)), "[0]", "Exit codes that mean success.", "[0, 24]"),
        Key("retries", integer(0, 1000), "0", "Number of additional attempts after a failure.", "3"),
        Key("retry_delay", duration("0s", "30d"), "1m",
            "Time between a failure and the next attempt, plus up to a tenth at random. From the sixth retry on, the "
            "delay is at least 1s.", "5m"),
        Key("retry_backoff", number(1, 10), "1", "Factor by which `retry_delay` grows with each attempt.", "2"),
        Key("retry_max_delay", optional(duration("1s", "30d")), "none",
            "Upper limit of the delay between two attempts.", "1h"),
        Key("retry_on", one_or_more(CAUSE), "",
            "Failures that are retried. The default is all except `lost`.", "[75, timeout]"),
        Key("failover", COMMAND, "", "Command to run if the last attempt fails.", "/usr/local/bin/backup-to-disk"),
        Key("leave_children", FLAG, "false",
            "Let processes that outlive the command continue. With `false`, they are stopped. "
            "For a user's job, the run counts in `live` of `users` until these processes end.", "true"),
    ),
    "Slurm": table(
        Key("runner", choice("local", "slurm"), "local",
            "Place where the job runs. `local`: this host. `slurm`: a Slurm node; this host must be able to submit to "
            "Slurm.", "slurm"),
        Key("slurm", section(SLURM), "{}",
            "Options for submissions to Slurm.", "{partition: long, licenses: {matlab: 1}}",
            needs="runner: slurm"),
    ),
    "Limits and scheduling": table(
        Key("resource_limits", section(RESOURCE_LIMITS), "{}",
            "Limits of each run, enforced by the kernel.", "{open_files: 4096, core: 0}"),
        Key("enforce", choice("required", "best_effort"), "best_effort",
            "Action if this host can't enforce a limit. `required`: the run does not start. `best_effort`: the run "
            "starts, and its record has a warning.", "required"),
        Key("nice", integer(-20, 19), "0", "Nice value of the command. A lower value gets more CPU time.", "10"),
        Key("ionice", IO, "", "I/O scheduling class of the command.", "idle"),
        Key("cpu_scheduling", text("other, batch, idle, or fifo:N or rr:N, N from 1 to 99",
            "other|batch|idle|(fifo|rr):[1-9][0-9]?"), "other", "CPU scheduling policy of the command.", "batch"),
        Key("oom_score_adj", integer(-1000, 1000), "0",
            "OOM score adjustment. When memory is short, the kernel kills processes with high scores first.", "500"),
        Key("no_new_privs", FLAG, "false",
            "Prevent the command from gaining privileges, for example with set-user-ID programs.", "true"),
    ),
    "Output and records": table(
        Key("output", OUTPUT, "both",
            "Destination of the output: a file next to the record, the journal (line by line), both, or none.", "file"),
        Key("output_limit", size("1K", "1T"), "64M",
            "Largest output file of a run. Output above this limit is dropped, and the record has the number of "
            "dropped bytes.",
            "512M"),
        Key("journal_rate", integer(1, 1_000_000), "100",
            "Lines of output per second that a run can send to the journal, or ten times as many in a burst. Lines "
            "above this limit are dropped, and the record has their number.", "20"),
        Key("redact", one_or_more(text("a string that is not empty")), "",
            "Words of `command` and `failover` to replace by ***. Records show *** to all users. Other output shows "
            "the words only to root and the job's user.", "[hunter2]"),
        Key("retention", section(RETENTION), "{}", "History of the job to keep.", "{runs: 500}", planned=True),
        Key("notify", NOTIFY, "{}",
            "Notices to send about the job, and their recipients.", "{on: failure, email: ops@example.org}"),
        Key("ping", PING, "",
            "Check at a monitor such as healthchecks.io, which gets each start, success and failure. Only root and the "
            "job's user see the part of the URL after the host.", "https://hc-ping.com/UUID"),
        Key("telemetry_hooks", HOOKS, "",
            "Programs that get the record of each run at its start, while it runs and at its end. The programs can "
            "add data to the record.", "[/usr/local/bin/push-metrics]"),
        Key("late", LATE, "true",
            "Limit after which one notice reports that a run has not started or has not ended. `true`: three times "
            "the mean, but at least the longest of the last 99 runs, and at least 1m (10m while fewer than 20 runs "
            "are recorded). `false`: no limit.", "{after: 2h}"),
        Key("expect", optional(duration("1s", "365d")), "none",
            "Longest time between two successes. After this time, one notice reports that the job is overdue, even if "
            "the job is paused, invalid, or missing from its file.", "26h"),
        Key("tags", one_or_more(text("a string without a comma", "(?s)[^,]+")), "",
            "Labels that commands and notices can choose jobs by.", "[backup, nightly]"),
        Key("metadata", ANYTHING, "",
            "Data of any kind, copied to each record. Numbers such as 1.10 and 0x1F stay as written.", "{owner: ops}"),
    ),
}  # fmt: skip

JOB_KEYS = {name: key for group in GROUPS.values() for name, key in group.items()}

_JOB = {"$ref": "#/definitions/job"}

FILE_KEYS = table(
    Key("defaults", mapping("a mapping of job keys such as {user: backup}", dict, {"allOf": [_JOB]}), "{}",
        "Keys that the jobs of this file share.", "{user: backup}"),
    Key("jobs", mapping("a mapping of ids to jobs such as {hello: {command: echo hi}}", dict,
        {"propertyNames": {"pattern": f"^(?:{NAME})$"}, "additionalProperties": _JOB}), "{}",
        "Jobs by their ids.", "{hello: {command: echo hi}}"),
)  # fmt: skip
