"""The interface that jobqueued serves on its control socket, in the language of https://varlink.org."""

from __future__ import annotations

NAME = "io.jobqueue"
HISTORY = 60
"""Maximum number of samples of each run, and of the host, in Usage."""

INTERFACE = """\
# The job queue of this host. Everybody may ask for Status, List and Fleet, with less in the answers (no descriptions,
# no triggers, no paths, of problems the file's name and how many), and for everything about own jobs. Readers may ask
# about all jobs, operators make things happen. Instants are RFC 3339 in UTC, durations seconds, sizes bytes; a run is
# written JOB@NUMBER. While state.db can't be written, what is asked for is done all the same, and unsaved says that a
# restart forgets it.
interface io.jobqueue

# The progress of a submission with several runs: of all of them so many are done, among these those that failed;
# running and waiting are the others. The rest is likely to take so many seconds, null if that is unknown.
type Batch (
  runs: int,
  done: int,
  failed: int,
  running: int,
  waiting: int,
  left: ?float
)

# A job, where it stands, and where it was defined. Last are start and state of the last run that has ended, and whether
# it has succeeded by its failover only; the job is failing since the first of the runs in a row that have failed, of
# which those that were ended deliberately are none. So many of its runs are late; if it has not succeeded for longer
# than its expect, it is overdue since that began to count. Next is the first start past a pause, and null while it is
# paused without an end, disabled or invalid, too; skips are the starts that SkipNext has taken out. Scope is host or
# fleet, of whose hosts one runs each occurrence. Settled, as the clock was set back: up to then times that it shows
# again are due where they follow elapsed time, and no fixed ones.
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

# One thing wrong with a file, and the id of its job, "" if it is in none. Lines and columns count from 1; 0 means
# unknown. Of each code jobqueuectl check --explain tells what it means.
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

# What a person should look at (run: the late one, or the last that failed): the kind is invalid, failing, missed (no
# start of it has come to anything, and there is no other), overdue (it has not succeeded for longer than its expect;
# it may be in no file any more), outdated (its fleet goes by a newer definition of it than the files of this host have)
# or paused for a job, late for a run that has not started, or not ended, when it usually would have; set_back for a job
# whose fixed times come again and are not due, as the clock was set back. Until is the end of a pause, or of these.
type Attention (
  kind: string,
  job: string,
  run: ?string,
  since: ?string,
  until: ?string,
  reason: ?string
)

# What is used: CPUs on the mean since the sample before (the first of a run: since its start), memory and tasks, and
# bytes a second from and to disks, null where that is not known.
type Sample (
  time: string,
  cpu: float,
  memory: int,
  tasks: int,
  io_read: ?float,
  io_write: ?float
)

# What all of the host uses, of so many CPUs and so much memory; pressure is the percentage of the last 10 s in which
# some task waited for it, null where the kernel does not tell.
type HostUsage (
  cpus: int,
  memory: int,
  pressure: (cpu: ?float, memory: ?float, io: ?float),
  now: Sample,
  history: []Sample
)

# What a live run uses, by its cgroup or, where it has none, by its processes. The limits are those that its cgroup has,
# null for what it has not. So far it has used seconds of CPU time, and been throttled for some. It may be stopped by a
# signal; it is late if it has not ended when it usually would have. A run of its job usually takes so many seconds,
# null where nobody knows. Of a run without a cgroup at most 2000 processes are looked at; where there are more, this is
# partial.
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

# A lock, or another resource that comes in units, that somebody holds, or waits for where it is not held: a run, or the
# command of a person (:with-lock@3), with the pid and command that its process has by now. The reason says why a lock
# is waited for that none of these has: a program of somebody else has the file, it is reserved for another, or the run
# lacks something else.
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

# The daemon, its queue, and the files it could not accept, of which stale ones keep their last good jobs.
# Left are the runs that have ended and left processes behind, as their jobs are allowed to.
# The state is ok or degraded, the reason says why. Controllers are those of the cgroups that runs have, null where
# they have none: then memory is sampled, and other limits of cgroups are not enforced; unenforced tells what of that
# jobs ask for. Troubles tell what else the daemon can't do, unwatched where files may come unnoticed that jobs of users
# wait for, who are told their own. Nothing new starts while the launcher does not answer, or
# the host is on hold; it is draining where that lasts until the next boot at most. The problems are those of job
# files, and of the settings as their file has them now. Exclusive is the live run of an exclusive job: nothing runs
# beside it. Of a host in a fleet its name is there, and how many hosts of it have a session, null while it can't be
# asked. Unwell says what is not as it should be, and is empty where all is well; attention names at most 100 of a kind,
# and each kind has its number.
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

# All jobs, by id, and the hold of the host; for others than readers and operators as they were at most a second ago.
method List() -> (jobs: []Job, held_by: ?string, held_until: ?string, draining: bool)

# One job with its counters and its newest records (10 by default), newest first.
method Describe(job: string, runs: ?int) -> (
  job: Job,
  definition: object,
  stats: object,
  runs: []object
)

# The record of a run; that of a live run so far, with its present usage {cpu_seconds, memory, tasks,
# io_read, io_write, throttled, stopped, partial}. What made it due is triggered_by: its kind and, by that, {run, state,
# exit_code, signal, ends, path, event, data}.
method Show(run: string) -> (record: object)

# What the host and all live runs use: once, measured over 0.3 s, or with more a reply each second. The
# first has on demand the history too, at most a minute of it, as far as a client was watching.
method Usage(history: ?bool) -> (host: HostUsage, runs: []RunUsage)

# A line that the daemon says: its event, level and words, as jobqueued(8) lists them; the job and
# the run that it is about, and the run's state by then. The record is there at the end of an attempt or a run.
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

# All that the daemon says from now on, or these events only, or of these jobs. Call it with more: the first reply has
# no lines and comes at once. What a line tells is saved, unless the state is degraded. Whoever does not read for long
# has missed so many lines of all.
method Watch(events: ?[]string, jobs: ?[]string) -> (events: []Event, missed: int)

# Metrics, for Prometheus and its kind. The kind of a family is counter, gauge, histogram or summary; a sample's name is
# that of its family with the suffix (_total, _bucket, _count, _sum).
method Metrics() -> (
  families: [](
    name: string,
    kind: string,
    help: string,
    samples: [](suffix: string, labels: [string]string, value: float)
  )
)

# When the clock starts a job next, in its zone: at most count times, past its pause if that has an end; what keeps the
# job from starting, and the hold of the host.
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

# Records, newest first by when the run was queued: of one job or all, in some states, queued from since on and before
# until. First come the runs that are live, and those that wait to start where their state is asked for. A reply has at
# most limit runs (50, also by default), fewer where many were passed over; its next, as before, gets what follows, and
# where it is null there is no more.
method History(job: ?string, states: ?[]string, since: ?string, until: ?string, before: ?string, limit: ?int) -> (
  runs: []object,
  next: ?string
)

# The output of a run from a byte on (0 by default), in base64, at most limit bytes (64 KiB, also by default); size is
# how much there is by now. Of a live run there may be more later.
method Logs(run: string, offset: ?int, limit: ?int) -> (data: string, size: int, live: bool)

# Make a job due now. Here, and of Rerun and Emit, traceparent names the span that the run is part of, as W3C Trace
# Context has it.
method Run(job: string, traceparent: ?string) -> (run: string, unsaved: ?string)

# Stop a run; a waiting one never starts; the state is stopping or skipped. A run whose supervisor is gone keeps its
# claims while something of it may live: lost says that nothing does, and the state is lost (retrying, if it is tried
# again).
method Stop(run: string, lost: ?bool) -> (state: string, unsaved: ?string)

# Start the next attempt of a run now, which waits for its retry_delay, or for another try after it could not be
# started. It passes the queue like any other: the state is waiting, or due if its job is held back.
method Retry(run: string) -> (state: string, unsaved: ?string)

# Make the job of a run due once more, whether that run has ended or not.
method Rerun(run: string, traceparent: ?string) -> (run: string, unsaved: ?string)

# Something has happened: make the jobs due that wait for this event. The runs are theirs, skipped ones too; they find
# the data, of at most 16 KiB as JSON and 16 levels, in JOBQUEUE_TRIGGER_DATA. Disabled are jobs that would have one.
# Where no job waits for it, nearest is an event of a similar name for which one does.
method Emit(event: string, data: ?object, traceparent: ?string) -> (
  runs: []string,
  disabled: []string,
  nearest: ?string,
  unsaved: ?string
)

# Why a run has not started, why it is stopping, or how it has ended: reasons for people; missing, the claims not
# granted, each {resource, mode, units, capacity, holders: {run, mode, units, since, held, ends_by, lingers}}; lingers
# says what may live of a holder whose supervisor is gone; ahead, the runs that go first and want the same, and behind,
# the one for which its claims are reserved; effective_priority by now, which grows by points each every seconds, and
# growth, the same for people; expected, when it is likely to start; late, of one that is late, by how much. Give either
# run or job. Of a job why is null, and runs has the same of its first 10 runs that wait to start; more is how many
# others wait; idle says why none does. With an instant, at, past says why the job, or the run, did not run then, by
# what is kept: {job, at, kind, run, reasons, unknown}, its kind running, down (the daemon), gone (from all job files),
# waiting, retrying, ended, disabled, paused, skipped, not_due or unknown; what is not kept is told in unknown.
method Why(run: ?string, job: ?string, at: ?string) -> (
  why: ?object,
  runs: []object,
  more: int,
  idle: ?string,
  past: ?object
)

# Let nothing of a job start until it is resumed, or until an instant; what comes due meanwhile is skipped, what waits
# is held.
method Pause(job: string, until: ?string) -> (unsaved: ?string)

# Skip what the clock makes due of a job next; due is when that would have started, and next the start that comes first
# now, past a pause; the zone is the job's. Undo: start the last of those after all.
method SkipNext(job: string, undo: ?bool) -> (due: string, next: ?string, timezone: string, unsaved: ?string)

# Expect nothing more of a job that is in no file (`expect`): it is not overdue any more.
method Forget(job: string) -> (unsaved: ?string)

# Start nothing new on this host: until Release, until an instant, and where boot is true at most until the next boot.
method Hold(until: ?string, boot: ?bool) -> (unsaved: ?string)

# Let new runs start again on this host.
method Release() -> (unsaved: ?string)

# The fleet that this host is in, null: none; the hosts of it that have a session now, by name, this one as host;
# about tells their labels, and whether they are on hold; down why it can't be asked, and so who they are, null: it can.
method Fleet() -> (
  fleet: ?string,
  host: string,
  hosts: []string,
  about: [](host: string, labels: []string, held: bool),
  down: ?string
)

# Go on in a fleet whose etcd has forgotten what its hosts have done, as it was put back to an earlier state.
method AcceptFleet() -> (unsaved: ?string)

# Hold a lock for the process that asks, until it ends: alone, shared, or some units of it. The answer comes when it is
# granted; with no_wait it is Refused if that is not at once. Who hangs up before wants it no more.
method Lock(lock: string, shared: ?bool, units: ?int, no_wait: ?bool) -> (holder: string, environment: [string]string)

# Who holds locks, and who waits for some: all, or those of one lock, by its name, at most 1000; more is how many are
# left out. Where no job and nobody else uses a lock of that name, known has the names that are used, at most 1000.
method Locks(lock: ?string) -> (claims: []LockClaim, more: int, known: []string)

# Take away what a command with a lock holds or waits for. Its process is left alone; held tells which it was.
method Evict(holder: string) -> (locks: []string, held: bool)

# What is wrong for longer, so that it is not told each time: a job that fails or can't run, a refused file, the state.
# Told are those who have been sent what is to be known of it.
type Incident (
  subject: string,
  kind: string,
  since: string,
  times: int,
  first_run: ?string,
  told: []string
)

# A notice that waits to be sent, or is being sent, with why that failed last. First is the first that waits for the
# same receiver: they are sent together, and it has the tries and the error. More are later ones that it stands for.
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

# Open incidents and waiting notices, at most 1000 of each; more is how many are left out.
method Notices() -> (incidents: []Incident, notices: []Notice, more: int)

# Put a test for all who may be told of a job, by itself or by the rules of the site; without one for all who may be
# told of anything, 100 at most. It goes at once, with what waits, though the last message did not get there; what is
# not in Notices any more was sent.
method Notify(job: ?string) -> (notices: []Notice)

# Let a paused job go on; this fires nothing. Whether it was paused, and what else keeps it from starting.
method Resume(job: string) -> (was_paused: bool, enabled: bool, invalid: ?string, file: string, unsaved: ?string)

# The record of a run, once the run has ended.
method Wait(run: string) -> (record: object)

# A change of what the clock makes due: what there was before held until one instant, this holds since another. Kind
# past: in timezone is, in JSON, who has paused or held what, or what became of a job by its file. Kind
# file: the job file of this name has this text, in base64 (null: it is gone), and this zone where a job names none.
# The text of one with drop-ins, or elsewhere than in /etc, begins with a NUL, and has all parts with their paths.
# Kind start: the daemon was down in between. Kind clock: the clock was set from the one to the other.
type DueChange (
  kind: string,
  name: string,
  until: string,
  since: string,
  digest: string,
  timezone: string,
  text: ?string
)

# The changes of what was due, oldest first, as far as they are kept: for an audit of the records. As job files may hold
# secrets, only root and the daemon's own user may ask. A reply has some of them; its next, as after, gets what follows,
# and where it is null there is no more.
method DueChanges(after: ?int) -> (changes: []DueChange, next: ?int)

# Read every job file that has changed, and answer when its jobs count: what became of which ids, and what is refused.
method Reload() -> (
  jobs: int,
  added: []string,
  edited: []string,
  removed: []string,
  stale: []string,
  problems: []Problem
)

# The crontab of who asks, or of another user, for which only root may ask: its bytes in base64, and a stamp that tells
# it from those before and after it. Syslog is told that it is listed, or that an edit of it begins.
method CrontabGet(user: ?string, edit: ?bool) -> (table: string, stamp: string)

# Put a crontab in place, of at most 128 KiB, in base64; Refused if there is not the one of that stamp ("none": none at
# all), where one is given. Whether this daemon runs what is in crontabs.
method CrontabSet(table: string, user: ?string, stamp: ?string) -> (live: bool)

# Remove a crontab.
method CrontabRemove(user: ?string) -> ()

# A job file of a user's: the ids of the jobs that are in force by it, the reason why one of them is invalid, and what
# keeps the file from being accepted as it is now.
type UserFile (
  name: string,
  user: string,
  uid: int,
  jobs: []string,
  invalid: ?string,
  refused: ?string
)

# The job files of who asks, or of another user, for which only root may ask; root without one gets those of all users,
# at most 1000; more is how many are left out. Here, and below, root means by NAME:UID one of several users of a name.
method UserFiles(user: ?string) -> (files: []UserFile, more: int)

# A job file: its text in base64, and a stamp that tells it from those before and after it ("none": there is none).
method UserFileGet(name: string, user: ?string) -> (text: string, stamp: string, user: string)

# Put a job file in place, of at most 64 KiB, in base64, if there is the one of that stamp, where one is given. Stored
# is false if there are problems that are errors; else the jobs are in force, and next has the first of their starts.
method UserFileSet(name: string, text: string, user: ?string, stamp: ?string) -> (
  stored: bool,
  problems: []Problem,
  jobs: [](id: string, invalid: ?string),
  next: [](job: string, at: string, timezone: string),
  stamp: ?string,
  unsaved: ?string
)

# Remove a job file, and so its jobs, whose ids are told.
method UserFileRemove(name: string, user: ?string, stamp: ?string) -> (jobs: []string, unsaved: ?string)

# Hand in what is to run once, as who asks; root's, and of the daemon's own user, are the host's. A submission has keys,
# those of a job file that make sense for one run, command among them; the rest is optional: name, array (1-100%10),
# after ([alice/17, any:alice/18@3]), a key, by which asking again gives the same job, and mail (output or always), for
# a mail to the user when it has ended; tool is at, if it comes by that. At most 160 KiB. It is saved before the answer;
# its first run is the job's number 1.
method Submit(submission: object) -> (job: string, is_new: bool, unsaved: ?string)

# The end of a submission, once it is over: how many runs it had, how many succeeded, and the record of the first that
# did not, or of the last.
method Await(job: string) -> (runs: int, succeeded: int, record: ?object)

# Let nothing of a submission start that has not: so many runs waited, and so many are live, which go on, or with stop
# are stopped, too.
method Withdraw(job: string, stop: ?bool) -> (running: int, waiting: int, unsaved: ?string)

# Let so many runs of a submission be live at a time, instead of as many as before; what is live goes on.
method Resize(job: string, runs: int) -> (before: int, unsaved: ?string)

# The submissions that are not over, of who asks, of all for readers and operators; at most 10,000, and how many more
# there are. Left are runs of an array that are not made yet; the standard input is told to its user and root.
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
# The run is known, but there is no output of it to be read.
error NoOutput (run: string, reason: string)
# The request makes sense, but not now.
error Refused (reason: string)
error PermissionDenied ()
# Instead of an answer to the first call: there is no place for one more connection. What was asked for is not done.
error Busy (reason: string)
error NoCrontab (user: string)
# By cron.allow or cron.deny; program at: by at.allow or at.deny.
error NotAllowed (user: string, program: ?string)
# The crontab is not the one of the stamp any more.
error CrontabChanged ()
error NoSuchUserFile (name: string)
# The job file is not the one of the stamp any more.
error UserFileChanged (name: string)
"""
