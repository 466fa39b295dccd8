"""Other programs' names for job keys, and the key or advice that replaces each name.

The names come from cron's variables, systemd, launchd, Kubernetes, Nomad, dkron, yacron and cronstable, Airflow,
APScheduler, Ansible, and from users' likely guesses.
"""

from __future__ import annotations

from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.types.types import PLANNED_TOO

_KEYS = {
    "command": "run cmd script exec execstart args arguments program programarguments action executor executorconfig "
    "jobtemplate",
    "shell": "executable interpreter",
    "stdin": "standardinput input standardinpath",
    "environment": "env envs vars variables environmentvariables",
    "environment_file": "envfile envfiles dotenv",
    "working_directory": "cwd workdir workingdir chdir dir directory",
    "user": "runas runasuser username becomeuser uid",
    "group": "gid groupname runasgroup",
    "groups": "supplementarygroups extragroups",
    "umask": "filemode",
    "credentials": "loadcredential secrets setcredential",
    "schedule": "cron crons oncalendar when crontab cronexpression scheduleinterval startcalendarinterval time times "
    "start starttime minute hour day month weekday specialtime periodic recurrence rrule timetable",
    "timezone": "tz crontz zone",
    "every": "interval onunitactivesec onunitinactivesec period startinterval frequency repeat",
    "at": "date runat once startdate",
    "on": "trigger triggers onevent",
    "spread": "randomizeddelaysec jitter randomdelay fixedrandomdelay delay splay",
    "catch_up": "persistent catchup misfire coalesce bootrun runmissed",
    "grace": "misfiregracetime",
    "start_deadline": "startingdeadlineseconds startingdeadline expire expires sla",
    "enabled": "state active",
    "concurrency": "maxinstances parallelism maxactiveruns maxparallel maxconcurrent instances",
    "overlap": "concurrencypolicy prohibitoverlap nooverlap allowoverlap overlappolicy",
    "locks": "lock flock mutex pool conflicts semaphore",
    "dependencies": "dependson depends needs requires after wants upstream",
    "timeout": "timeoutminutes timeoutseconds activedeadlineseconds timeoutstartsec runtimemaxsec executiontimeout "
    "maxruntime maxduration deadline walltime",
    "kill_grace": "timeoutstopsec killtimeout terminationgraceperiodseconds graceperiod exittimeout stoptimeout",
    "stop_signal": "killsignal signal",
    "leave_children": "killmode",
    "success_codes": "successexitstatus failswhen exitcodes okcodes",
    "retries": "retry attempts maxretries backofflimit restart restartpolicy maximumretries maxattempts",
    "retry_delay": "restartsec retryinterval initialdelay",
    "retry_backoff": "backoffmultiplier retryexponentialbackoff backoff",
    "retry_max_delay": "restartmaxdelaysec maximumdelay maxretrydelay",
    "resource_limits": "limits ulimit ulimits rlimits",
    "priority": "weight rank",
    "exclusive": "singleton alone",
    "ionice": "ioschedulingclass ioschedulingpriority iopriority",
    "cpu_scheduling": "cpuschedulingpolicy cpuschedulingpriority",
    "oom_score_adj": "oomscoreadjust",
    "no_new_privs": "nonewprivileges",
    "output_limit": "savelimit logmaxsize",
    "journal_rate": "logratelimitburst logratelimitintervalsec",
    "retention": "successfuljobshistorylimit failedjobshistorylimit ttlsecondsafterfinished history keep",
    "notify": "notifications report alert alerts onfailurealert",
    "description": "comment desc summary displayname title",
    "tags": "labels",
    "metadata": "annotations meta owner",
    "telemetry_hooks": "hooks statsd",
}
"""Our key → other names for it, in lower case without - and _."""

_OF_FAILURES = (
    "`notify: {email: ops@example.org}`, `failover: /usr/local/bin/repair`, or another job with "
    "`on: {job: backup, result: failure}`"
)
_WORDS = {
    "name id job label syslogidentifier": "the id as the job's key, as in jobs: {backup: {…}}",
    "memory mem memorymax memorylimit maxmemory memlimit": "`resource_limits: {memory: 512M}`",
    "cpu cpus cpuquota cpulimit maxcpu": "`resource_limits: {cpu: 0.5}`",
    "memoryhigh": "`resource_limits: {memory_high: 400M}`",
    "memoryswapmax swap": "`resource_limits: {swap: 0}`",
    "tasksmax pidslimit": "`resource_limits: {tasks: 64}`",
    "ioreadbandwidthmax": "`resource_limits: {io_read: 20M}`",
    "iowritebandwidthmax": "`resource_limits: {io_write: 20M}`",
    "openfiles nofile limitnofile": "`resource_limits: {open_files: 1024}`",
    "limitnproc nproc": "`resource_limits: {processes: 256}`",
    "limitcore": "`resource_limits: {core: 0}`",
    "suspend disabled disable paused": "`enabled: false` to turn the job off, otherwise the job without this key",
    "utc": "`timezone: UTC`",
    "path": "`environment: {PATH: /usr/local/bin:/usr/bin:/bin}`",
    "home lang": "`environment: {HOME: /srv}`",
    "onbootsec onstartupsec runatload onboot boot reboot": "`on: boot`",
    "pathexists pathchanged pathmodified directorynotempty watchpaths queuedirectories watch file":
        "`on: {path: /srv/in/*.csv}`",
    "mail mailto email owneremail": "`notify: {email: ops@example.org}`",
    "webhook webhooks slack": "`notify: {webhook: https://example.org/hook}`",
    "log logs logfile stdout stderr capturestdout capturestderr standardoutput standarderror standardoutpath "
    "standarderrorpath outputfile": "`output: both`, `output: file`, `output: journal` or `output: none`; to write to "
        "another file, redirect the output in the command, as in `command: make >> /tmp/out`",
    "host node nodename hostname": "`scope: fleet, hosts: {labels: [gpu]}` for hosts of a fleet, otherwise the file "
        "without it, because a job runs on the host that has its file",
    "event": "`on: {event: deployed}`",
    "onsuccess parentjob": "`on: {job: backup, result: success}` in the job that should follow",
    "onfailure onerror onpermanentfailure failureaction errorhandler": _OF_FAILURES,
    "image container docker": "a `command` that starts the container, such as `command: podman run --rm alpine date`",
    "execstartpre execstartpost execstop pre post before setup":
        "one `command` that runs all steps, such as `command: prepare && backup`",
    "accuracysec wakesystem wantedby type unit remainafterexit cronfile":
        "the file without this key; jobqueued has no such setting",
}  # fmt: skip
"""Names that do not correspond to one key → the text to write instead."""

ELSEWHERE = {word: key for key, words in _KEYS.items() for word in words.split()}
"""Names that other schedulers use, in lower case without - and _ → our key, or advice."""

ELSEWHERE |= {word: advice for words, advice in _WORDS.items() for word in words.split()}

AT_THE_TOP = {
    word: PLANNED_TOO.format(name)
    if key.planned
    else f"defaults or jobs at the top; {name!r} belongs to a job, as in jobs: {{backup: {{{name}: {key.example}}}}}"
    for name, key in JOB_KEYS.items()
    for word in (name.replace("_", ""), *_KEYS.get(name, "").split())
}
"""Job key → advice if the key is next to `jobs` instead of inside a job."""

_SAME = (
    "run cmd exec interpreter stdin env envs vars variables environmentvariables envfile envfiles cwd workdir "
    "workingdir chdir dir directory runas runasuser username becomeuser groupname runasgroup supplementarygroups "
    "extragroups cron crontab cronexpression tz crontz zone interval randomizeddelaysec jitter lock mutex dependson "
    "depends executiontimeout maxruntime maxduration killsignal retry maxretries retryinterval comment desc summary "
    "displayname title labels annotations meta notifications"
)
SAME = frozenset(_SAME.split())
"""Names with exactly the meaning of our key, and the same kind of values."""
