"""The interface that jobqueued serves on its control socket, in the language of https://varlink.org."""

from __future__ import annotations

NAME = "io.jobqueue"
HISTORY = 60
"""Maximum number of samples of each run, and of the host, in Usage."""

INTERFACE = """\
# The job queue of this host. Every user may call Status, List and Fleet. Users who are neither readers nor operators
# get the host's jobs without descriptions, triggers and paths, and only the file names and counts of problems. For
# their own jobs, users may call all methods about jobs and runs. Readers see all jobs; operators may also act. Instants
# are RFC 3339 in UTC, durations are in seconds, sizes in bytes. A run is written JOB@NUMBER. While state.db can't be
# written, a change takes effect, but a restart forgets it, and `unsaved` in the reply has the reason. If state.db has
# not been writable since the daemon started, the daemon refuses Run, Rerun, Emit and Submit.
interface io.jobqueue

# The progress of a submission with several runs.
# - done: runs that ended, including the failed runs
# - waiting: runs that are neither done nor running
# - left: the likely time until the last run ends, null if unknown
type Batch (
  runs: int,
  done: int,
  failed: int,
  running: int,
  waiting: int,
  left: ?float
)

# A job, its status, and the file that defines it.
# - skips: the starts that SkipNext removed
# - scope: host, or fleet if one host of the fleet runs each occurrence
# - next: the next scheduled start; if the job is paused until an instant, the first start from then on. Null if a pause
#   has no end, or the job is disabled or invalid
# - settled: set after the system clock was set back. Fixed times up to this instant are not due again; times that
#   follow elapsed time are
# - rate_full: when the used part of the job's rate is free again. Null if the job has no rate, or never used it
# - last_run, last_state: the start and the state of the run that ended last
# - last_failover: true if the last run succeeded only by its failover
# - failing_since: the start of the first of the consecutive failed runs. Runs that a user stopped do not count
# - late: the number of late runs
# - overdue_since: when the job became overdue, because it had not succeeded for longer than its expect
type Job (
  id: string,
  description: string,
  status: string,
  enabled: bool,
  paused: bool,
  paused_until: ?string,
  skips: []string,
  invalid: ?string,
  priority: int,
  concurrency: int,
  scope: string,
  schedule: []string,
  timezone: string,
  next: ?string,
  settled: ?string,
  rate_full: ?string,
  last_run: ?string,
  last_state: ?string,
  last_failover: bool,
  failing_since: ?string,
  due: int,
  waiting: int,
  retrying: int,
  running: int,
  late: int,
  overdue_since: ?string,
  tags: []string,
  file: string,
  line: int,
  drop_ins: []string,
  batch: ?Batch
)

# An error or a warning about a file. `job` is the id of the job, or "" if the problem is about no job. Lines and
# columns count from 1; 0 means unknown. jobqueuectl check --explain explains each code.
type Problem (
  file: string,
  line: int,
  column: int,
  key: string,
  message: string,
  severity: string,
  job: string,
  code: string
)

# A job or run that needs attention. The kinds:
# - invalid: the job cannot run on this host
# - failing: the job's last run failed; `run` has its id
# - missed: no run of the job ever started, and the job has no further start
# - overdue: the job has not succeeded for longer than its expect. The job may be in no file any longer
# - outdated: the job's fleet uses a newer definition than this host's files contain
# - late: a run of the job has not started or ended at its usual time; `run` has its id
# - paused: the job is paused; `until` is the end of the pause
# - set_back: the clock was set back, and the job's fixed times up to the instant `until` are not due again
type Attention (
  kind: string,
  job: string,
  run: ?string,
  since: ?string,
  until: ?string,
  reason: ?string
)

# Usage at an instant. `cpu` is the mean number of CPUs since the previous sample, or since the start of the run;
# `io_read` and `io_write` are bytes per second from and to disks, null if unknown.
type Sample (
  time: string,
  cpu: float,
  memory: int,
  tasks: int,
  io_read: ?float,
  io_write: ?float
)

# The usage of the whole host, its number of CPUs and its memory. `pressure` is the percentage of the last 10 s that a
# task spent waiting for the resource, null if the kernel does not report it.
type HostUsage (
  cpus: int,
  memory: int,
  pressure: (cpu: ?float, memory: ?float, io: ?float),
  now: Sample,
  history: []Sample
)

# The usage of a live run.
# - by: how the daemon measures the usage: cgroup, or processes if the run has no cgroup
# - limits: the limits of the run's cgroup; null means no limit
# - throttled: seconds for which its CPU limit made the run wait, null without a cgroup
# - stopped: true if a signal has stopped the run
# - partial: true if the run has no cgroup and more than 2000 processes; only 2000 are measured
# - late: true if the run has not ended at its usual time
# - usual: the usual duration of a run of this job, null if unknown
type RunUsage (
  run: string,
  job: string,
  state: string,
  pid: int,
  started: string,
  by: string,
  limits: (cpu: ?float, memory: ?int, tasks: ?int),
  cpu_seconds: float,
  throttled: ?float,
  stopped: bool,
  partial: bool,
  late: bool,
  user: ?string,
  tags: []string,
  usual: ?float,
  now: Sample,
  history: []Sample
)

# A lock, or units of another resource, that a holder holds or waits for:
# - held: true if the holder holds the lock, false if it waits
# - holder: a run, or a user's command such as :with-lock@3
# - pid, command: the process of the holder
# - reason: why the holder waits although no run or command holds the lock: another program has the lock file, the lock
#   is reserved for another run, or the run waits for another resource. Null otherwise
type LockClaim (
  lock: string,
  mode: string,
  units: int,
  held: bool,
  since: ?string,
  holder: string,
  asked_by: ?string,
  pid: ?int,
  command: ?string,
  reason: ?string
)

# The daemon, its queue, and the files that it refused.
# - unwell: every problem, one sentence each; empty if everything is healthy. Failed submissions are not included:
#   History has them, and jobqueuectl status adds them
# - state, reason: `state` is ok or degraded; `reason` is why it is degraded, or null
# - exclusive: the live run of an exclusive job; no other run starts while it is live
# - fleet, fleet_hosts: the name of the fleet, and how many of its hosts have a session, null while the fleet is
#   unreachable
# - controllers: the cgroup controllers of runs. Null if runs have no cgroup. Without cgroups, the daemon samples memory
#   and enforces no other cgroup limits
# - unenforced: the job limits that this host does not enforce
# - launcher: false while the launcher does not answer. During this time, no run starts
# - troubles: other things that the daemon cannot do
# - unwatched: places where the daemon may not notice a new file that a user's job waits for. Users see only the places
#   of their own jobs
# - left: ended runs whose processes continue because the job has leave_children
# - held_by, held_until, draining: the host's hold, during which no run starts. If `draining` is true, the hold ends at
#   the next boot at the latest
# - attention: at most 100 jobs and runs of each kind. `invalid`, `failing`, `missed`, `late`, `overdue`, `outdated`,
#   `paused` and `set_back` are the total of each kind
# - stale: refused files whose last good jobs remain in force
# - problems: the problems in job files and in the current settings file
method Status() -> (
  unwell: []string,
  version: string,
  pid: int,
  host: string,
  started: string,
  state: string,
  reason: ?string,
  jobs: int,
  due: int,
  waiting: int,
  retrying: int,
  running: int,
  max_running: ?int,
  exclusive: ?string,
  fleet: ?string,
  fleet_hosts: ?int,
  controllers: ?[]string,
  launcher: bool,
  troubles: []string,
  unenforced: []string,
  unwatched: []string,
  left: []string,
  held_by: ?string,
  held_until: ?string,
  draining: bool,
  attention: []Attention,
  invalid: int,
  failing: int,
  missed: int,
  late: int,
  overdue: int,
  outdated: int,
  paused: int,
  set_back: int,
  next: ?string,
  next_job: ?string,
  stale: []string,
  problems: []Problem
)

# All jobs, sorted by id, and the host's hold. For users who are neither readers nor operators, the reply is up to a
# second old.
method List() -> (jobs: []Job, held_by: ?string, held_until: ?string, draining: bool)

# One job with its counters and its newest records (10 by default, at most 1000), newest first.
method Describe(job: string, runs: ?int) -> (
  job: Job,
  definition: object,
  stats: object,
  runs: []object
)

# The record of a run. For a live run, the record so far, and its current usage {cpu_seconds, memory, tasks, io_read,
# io_write, throttled, stopped, partial}. `triggered_by` is the cause of the run: kind and, depending on the kind, {run,
# state, exit_code, signal, ends, path, event, data}.
method Show(run: string) -> (record: object)

# The usage of the host and of all live runs. Without `more`, the daemon measures for 0.3 s and replies once; with
# `more`, it replies each second. With `history`, the first reply contains the samples of the last minute, if a client
# was watching at that time.
method Usage(history: ?bool) -> (host: HostUsage, runs: []RunUsage)

# A line in the daemon's log: its event, level and message, as listed in jobqueued(8); its job and run; and the run's
# state at that time. The line that reports the end of an attempt or a run contains the record.
type Event (
  at: string,
  event: string,
  level: string,
  message: string,
  job: ?string,
  run: ?string,
  state: ?string,
  record: ?object
)

# The daemon's log lines from now on, or only the lines with these events and about these jobs. Call Watch with `more`.
# The first reply comes at once and has no lines. The daemon sends a line after its effect is saved, unless the state is
# degraded. A client that reads too slowly loses lines; `missed` is their number, including lines that the client did
# not select.
method Watch(events: ?[]string, jobs: ?[]string) -> (events: []Event, missed: int)

# Metrics for Prometheus. The kind of a family is counter, gauge, histogram or summary. A sample's name is its family's
# name plus the suffix (_total, _bucket, _count, _sum).
method Metrics() -> (
  families: [](
    name: string,
    kind: string,
    help: string,
    samples: [](suffix: string, labels: [string]string, value: float)
  )
)

# The next scheduled starts of a job: at most `count` (1000 at most). If the job is paused until an instant, these are
# the starts from then on. The other fields show what keeps the job from starting, including the host's hold. `timezone`
# is the job's time zone.
method Next(job: string, count: int) -> (
  timezone: string,
  next: []string,
  enabled: bool,
  invalid: ?string,
  paused: bool,
  paused_until: ?string,
  set_back_until: ?string,
  held_by: ?string,
  held_until: ?string,
  draining: bool
)

# Records of one job, or of all jobs, by the time at which their runs were queued: unfinished runs first, then ended
# runs, newest first. `states` selects runs by state. Without `states`, the reply has every run, except those that wait
# for their first attempt. `since` and `until` select runs that were queued at or after `since` and before `until`. A
# reply has at most `limit` runs (50, the default and the maximum), and may have fewer. To get the next page, pass
# `next` as `before`; `next` is null at the end.
method History(job: ?string, states: ?[]string, since: ?string, until: ?string, before: ?string, limit: ?int) -> (
  runs: []object,
  next: ?string
)

# The output of a run in base64, from the byte `offset` (default 0): at most `limit` bytes (64 KiB, the default and the
# maximum). `size` is the length of the output so far; the output of a live run may grow.
method Logs(run: string, offset: ?int, limit: ?int) -> (data: string, size: int, live: bool)

# Make a job due now. In Run, Rerun and Emit, `traceparent` is the parent span of the new run (W3C Trace Context).
method Run(job: string, traceparent: ?string) -> (run: string, unsaved: ?string)

# Stop a run. A run that has not started never starts. The `state` in the reply is stopping or skipped. A run whose
# supervisor died keeps its claims while one of its processes may live. With `lost`, the caller declares that none of
# its processes lives. The state is then lost, or retrying if another attempt follows.
method Stop(run: string, lost: ?bool) -> (state: string, unsaved: ?string)

# End a run's wait for its next attempt, or for another try after its start failed. The run joins the queue like any
# other run. The `state` in the reply is waiting, or due if the job keeps the run out of the queue (it is paused, or at
# its concurrency).
method Retry(run: string) -> (state: string, unsaved: ?string)

# Make a run's job due again. The run may be live or ended.
method Rerun(run: string, traceparent: ?string) -> (run: string, unsaved: ?string)

# Report an event: make the jobs due that wait for it. `runs` are the new runs, including skipped runs; they find the
# `data` in JOBQUEUE_TRIGGER_DATA (at most 16 KiB of JSON, 16 levels deep). `disabled` are the disabled jobs that wait
# for the event. If no job waits for the event, `nearest` is an event with a similar name for which a job waits.
method Emit(event: string, data: ?object, traceparent: ?string) -> (
  runs: []string,
  disabled: []string,
  nearest: ?string,
  unsaved: ?string
)

# Why a run has not started, why it is stopping, or how it ended. Pass either `run` or `job`. The reply has:
# - why: with `run`, the object for the run
# - runs: with `run`, the object for the run; with `job`, the objects for the job's first 10 runs that wait to start
# - more: with `job`, the number of the job's other waiting runs
# - idle: with `job`, the reason why no run waits
# - past: with `at`, the object for that instant
# The object for a run has:
# - reasons: sentences for people
# - missing: the claims not granted, each {resource, mode, units, capacity, holders: {run, mode, units, since, held,
#   ends_by, lingers}}. If the holder's supervisor died, `lingers` describes its processes that may be alive
# - ahead: the runs ahead of this run that need the same locks or limits
# - behind: the run for which its claims are reserved
# - effective_priority: the priority now. It grows by `points` in each period of `every` seconds; `growth` describes
#   this for people
# - expected: when it will probably start
# - late: how late it is, if it is late
# The object for an instant shows, according to the records, why the job or the run did not run then. It has:
# - job, at, run, reasons
# - kind: running, down (the daemon was down), gone (the job was in no job file), waiting, retrying, ended, disabled,
#   paused, skipped, not_due or unknown
# - unknown: the facts that the records do not show
method Why(run: ?string, job: ?string, at: ?string) -> (
  why: ?object,
  runs: []object,
  more: int,
  idle: ?string,
  past: ?object
)

# Start no run of a job until Resume, or until the instant `until`. Runs that come due during the pause are skipped;
# waiting runs start after the pause. For a user's own submission, an `until` in the future needs the right to submit
# for a later time.
method Pause(job: string, until: ?string) -> (unsaved: ?string)

# Skip the next scheduled start of a job. `due` is the start that is skipped, and `next` is the following start, after a
# pause; `timezone` is the job's time zone. With `undo`, cancel the last of these skips.
method SkipNext(job: string, undo: ?bool) -> (due: string, next: ?string, timezone: string, unsaved: ?string)

# Stop expecting a job that is in no file to succeed (key expect). The job is no longer overdue.
method Forget(job: string) -> (unsaved: ?string)

# Start no run on this host until Release, or until the instant `until`. With `boot`, the hold ends at the next boot at
# the latest.
method Hold(until: ?string, boot: ?bool) -> (unsaved: ?string)

# End this host's hold: runs start again.
method Release() -> (unsaved: ?string)

# This host's fleet, null if the host is in no fleet, and the hosts that have a session now, sorted by name. `host` is
# this host; `about` has the hosts' labels and holds. `down` is why the fleet is unreachable, or null; while the fleet
# is unreachable, `hosts` is empty.
method Fleet() -> (
  fleet: ?string,
  host: string,
  hosts: []string,
  about: [](host: string, labels: []string, held: bool),
  down: ?string
)

# Accept that etcd was restored to an earlier state and lost the fleet's newer claims: this host claims again.
method AcceptFleet() -> (unsaved: ?string)

# Hold a lock for the calling process until that process ends: exclusive, shared, or some of its units. The reply comes
# when the lock is granted. With `no_wait`, the error Refused comes at once if the lock is not free. A caller that
# disconnects before the reply leaves the queue.
method Lock(lock: string, shared: ?bool, units: ?int, no_wait: ?bool) -> (holder: string, environment: [string]string)

# The holders of locks, and the runs and commands that wait for locks: for all locks, or for the named lock. A reply has
# at most 1000 claims; `more` is how many are left out. If no lock of that name exists, `known` lists the names of
# existing locks and resources, at most 1000.
method Locks(lock: ?string) -> (claims: []LockClaim, more: int, known: []string)

# Take away the locks that a command holds or waits for. Its process continues. `held` is true if the command held the
# locks, and false if it waited.
method Evict(holder: string) -> (locks: []string, held: bool)

# A lasting problem: a job that fails or can't run, a refused file, or a state that can't be saved. People are notified
# once, not each time. `times` counts its occurrences. `told` lists the notified receivers for whom no notice waits.
type Incident (
  subject: string,
  kind: string,
  since: string,
  times: int,
  first_run: ?string,
  told: []string
)

# A notice that waits to be sent, or is being sent. Notices to one receiver are sent together. `first` is the id of the
# oldest of these notices, and only this notice counts the `tries` and has the last `error`. `more` is the number of
# later notices that this notice stands for.
type Notice (
  id: string,
  first: string,
  target: string,
  event: string,
  summary: string,
  created: string,
  more: int,
  tries: int,
  error: ?string
)

# Open incidents and waiting notices, at most 1000 of each. `more` is how many are left out.
method Notices() -> (incidents: []Incident, notices: []Notice, more: int)

# Send a test to every receiver that the job's file or jobqueued.yaml names for this job; without `job`, to every
# receiver of any notice. Refused if there is no receiver, or if there are more than 100. The daemon sends tests at
# once, with the notices that wait for the same receivers, even if the last message to a receiver failed. A test that is
# no longer in Notices was sent.
method Notify(job: ?string) -> (notices: []Notice)

# End a job's pause. This makes nothing due. `was_paused` is true if the job was paused. `enabled` and `invalid` show
# what else keeps the job from starting.
method Resume(job: string) -> (was_paused: bool, enabled: bool, invalid: ?string, file: string, unsaved: ?string)

# The record of a run. The reply comes when the run has ended.
method Wait(run: string) -> (record: object)

# A change of the scheduled due times: the old rule holds until the instant `until`, and the new rule from the instant
# `since`. The kinds:
# - file: the job file with this name got this text (base64, null if the file was deleted); `timezone` is for jobs
#   without a time zone. If the file has drop-ins or is outside /etc, the text begins with a NUL and has all parts with
#   their paths
# - start: the daemon was down between these instants
# - clock: the clock was set from the first of these instants to the second
# - past: `timezone` has a JSON object: a pause or hold and the user who ordered it, or a change of the job by its file
type DueChange (
  kind: string,
  name: string,
  until: string,
  since: string,
  digest: string,
  timezone: string,
  text: ?string
)

# The retained changes of due times, oldest first, for an audit of the records. Only root and the daemon's own user may
# call this method, because job files may hold secrets. To get the next page, pass `next` as `after`; `next` is null at
# the end.
method DueChanges(after: ?int) -> (changes: []DueChange, next: ?int)

# Read all changed job files. The reply comes when their jobs are in force. The reply has the ids that were added,
# edited and removed, and the refused files and their problems.
method Reload() -> (
  jobs: int,
  added: []string,
  edited: []string,
  removed: []string,
  stale: []string,
  problems: []Problem
)

# The caller's crontab: its bytes in base64, and the stamp of this version. Root may name another user. The call is
# logged to syslog as a list, or with `edit` as the beginning of an edit.
method CrontabGet(user: ?string, edit: ?bool) -> (table: string, stamp: string)

# Install a crontab of at most 128 KiB, in base64. With a `stamp`, the reply is CrontabChanged unless the crontab still
# has that stamp. The stamp "none" means that no crontab exists. `live` is true if this daemon runs the crontabs.
method CrontabSet(table: string, user: ?string, stamp: ?string) -> (live: bool)

# Remove the caller's crontab. Root may name another user.
method CrontabRemove(user: ?string) -> ()

# A user's job file. `jobs` are its jobs in force; `invalid` is why one of them cannot run; `refused` is why the daemon
# refuses the current file.
type UserFile (
  name: string,
  user: string,
  uid: int,
  jobs: []string,
  invalid: ?string,
  refused: ?string
)

# The caller's job files. Root gets the files of the named user, or of all users if it names none. A reply has at most
# 1000 files; `more` is how many are left out. If several users had the same name, root writes NAME:UID to name one of
# them in UserFiles, UserFileGet and UserFileRemove.
method UserFiles(user: ?string) -> (files: []UserFile, more: int)

# A job file: its text in base64, and the stamp of this version. The stamp is "none" if no such file exists.
method UserFileGet(name: string, user: ?string) -> (text: string, stamp: string, user: string)

# Store a job file of at most 64 KiB, in base64. With a `stamp`, the reply is UserFileChanged unless the file still has
# that stamp. `stored` is false if a problem is an error. Otherwise the jobs are in force, and `next` has the first
# starts.
method UserFileSet(name: string, text: string, user: ?string, stamp: ?string) -> (
  stored: bool,
  problems: []Problem,
  jobs: [](id: string, invalid: ?string),
  next: [](job: string, at: string, timezone: string),
  stamp: ?string,
  unsaved: ?string
)

# Remove a job file and its jobs; `jobs` are their ids. `stamp` works as in UserFileSet.
method UserFileRemove(name: string, user: ?string, stamp: ?string) -> (jobs: []string, unsaved: ?string)

# Submit a job that runs once, as the caller. A job that root or the daemon's own user submits belongs to the host.
# `submission` has at most 160 KiB and these fields, of which only `keys` is required:
# - keys: the keys of a job file that apply to one run; `command` is required
# - name: a name for the job instead of a number
# - array: the numbers of its runs, and how many may be live (1-100%10)
# - after: the submissions and runs to wait for ([alice/17, any:alice/18@3])
# - key: a second call with this key returns the same job
# - mail: output or always, to send the user a mail at the end
# - tool: at, if it comes from at(1)
# The submission is saved before the reply. Its first run has the number 1.
method Submit(submission: object) -> (job: string, is_new: bool, unsaved: ?string)

# The result of a submission. The reply comes when all its runs have ended: their number, how many succeeded, and the
# record of the first run that did not succeed. If all runs succeeded, `record` is the last run's.
method Await(job: string) -> (runs: int, succeeded: int, record: ?object)

# Start no more runs of a submission. `waiting` is how many runs waited, and `running` is how many are live. Live runs
# continue; with `stop`, they are stopped.
method Withdraw(job: string, stop: ?bool) -> (running: int, waiting: int, unsaved: ?string)

# Change how many runs of a submission may be live at a time; `before` is the old number. Live runs continue.
method Resize(job: string, runs: int) -> (before: int, unsaved: ?string)

# The caller's unfinished submissions; readers and operators get the submissions of all users. A reply has at most
# 10,000 submissions; `more` is how many are left out. `left` is the number of runs of an array that are not queued yet.
# Only the user and root see `stdin`.
method Submissions() -> (
  submissions: [](
    job: string,
    user: string,
    at: ?string,
    submitted: string,
    tags: []string,
    running: int,
    waiting: int,
    left: int,
    stdin: string
  ),
  more: int
)

error NoSuchJob (job: string)
error NoSuchRun (run: string)
# The run exists, but its output cannot be read.
error NoOutput (run: string, reason: string)
# The daemon understood the request but cannot fulfil it now.
error Refused (reason: string)
# needs: the lowest rank that may make the call: reader, operator or root.
error PermissionDenied (needs: ?string)
# The daemon has no room for another connection. The first call on the connection gets this error, and has no effect.
error Busy (reason: string)
error NoCrontab (user: string)
# cron.allow or cron.deny excludes the user from crontab; if `program` is at, at.allow or at.deny excludes the user from
# at.
error NotAllowed (user: string, program: ?string)
# The crontab no longer has the given stamp.
error CrontabChanged ()
error NoSuchUserFile (name: string)
# The job file no longer has the given stamp.
error UserFileChanged (name: string)
"""
