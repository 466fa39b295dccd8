"""The varlink wire (https://varlink.org) and the interface that jobqueued serves.  It touches no socket.

A message is a JSON object ended by a NUL byte.  A call is ``{"method", "parameters", "oneway", "more"}``, its
reply ``{"parameters", "continues"}`` or ``{"error", "parameters"}``; a connection carries one call after the other,
answered in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jobqueued import __version__

Message = dict[str, Any]
Method = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Takes checked parameters and returns the reply's; None: the reply comes later; raises VarlinkError to refuse."""

LIMIT = 1 << 20

NAME = "io.jobqueue"

INTERFACE = """\
# The job queue of this host.
# Instants are RFC 3339 in UTC, durations seconds, sizes bytes; a run is written JOB@NUMBER.
interface io.jobqueue

# A job, where it stands, and where it was defined. Next is null while it is paused, disabled or invalid, too; skips are
# the starts that SkipNext has taken out.
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
  schedule: []string,
  timezone: string,
  next: ?string,
  last_run: ?string,
  last_state: ?string,
  due: int,
  waiting: int,
  retrying: int,
  running: int,
  file: string,
  line: int
)

# One thing wrong with a file. Lines and columns count from 1; 0 means unknown.
type Problem (
  file: string,
  line: int,
  column: int,
  key: string,
  message: string,
  severity: string
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

# What all of the host uses, of so many CPUs and so much memory.
type HostUsage (
  cpus: int,
  memory: int,
  now: Sample,
  history: []Sample
)

# What a live run uses, by its cgroup or, where it has none, by its processes. The limits are those that its cgroup has,
# null for what it has not. So far it has used seconds of CPU time, and been throttled for some. It may be stopped by a
# signal.
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
  now: Sample,
  history: []Sample
)

# The daemon, its queue, and the files it could not accept, of which stale ones keep their last good jobs.
# Left are the runs that have ended and left processes behind, as their jobs are allowed to.
# The state is ok or degraded, the reason says why. Controllers are those of the cgroups that runs have, null where they
# have none: then memory is sampled, and other limits of cgroups are not enforced. Troubles tell what can't be done here
# of what jobs or settings ask for. Nothing new starts while the launcher does not answer, or somebody holds it.
method Status() -> (
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
  controllers: ?[]string,
  launcher: bool,
  troubles: []string,
  left: []string,
  held_by: ?string,
  held_until: ?string,
  next: ?string,
  next_job: ?string,
  stale: []string,
  problems: []Problem
)

# All jobs, by id.
method List() -> (jobs: []Job)

# One job with its counters and its newest records (10 unless told), newest first.
method Describe(job: string, runs: ?int) -> (
  job: Job,
  definition: object,
  stats: object,
  runs: []object
)

# The record of a run; that of a live run so far, with its present usage {cpu_seconds, memory, tasks,
# io_read, io_write, throttled, stopped}.
method Show(run: string) -> (record: object)

# What the host and all live runs use: once, measured over 0.3 s, or with more a reply each second. The
# first has on demand the history too, at most a minute of it, as far as somebody looked.
method Usage(history: ?bool) -> (host: HostUsage, runs: []RunUsage)

# When the clock starts a job next, in its zone: at most count times.
method Next(job: string, count: int) -> (timezone: string, next: []string)

# Records, newest first by when the run was queued: of one job or all, in some states, queued from since on and before
# until. First come the runs that are live. A reply has at most limit runs (50, also unless told), fewer where many
# were passed over; its next, as before, gets what follows, and where it is null there is no more.
method History(job: ?string, states: ?[]string, since: ?string, until: ?string, before: ?string, limit: ?int) -> (
  runs: []object,
  next: ?string
)

# The output of a run from a byte on (0 unless told), in base64, at most limit bytes (64 KiB, also unless told); size is
# how much there is by now. Of a live run there may be more later.
method Logs(run: string, offset: ?int, limit: ?int) -> (data: string, size: int, live: bool)

# Make a job due now.
method Run(job: string) -> (run: string)

# End a live run, or let one that waits never start; the state is stopping or skipped.
method Stop(run: string) -> (state: string)

# Make the job of a run due once more, whether that run has ended or not.
method Rerun(run: string) -> (run: string)

# Something has happened: make the jobs due that wait for this event. The runs are theirs, skipped ones too.
method Emit(event: string) -> (runs: []string)

# Why a run has not started, or how it has ended: reasons for people; missing, the claims not granted, each {resource,
# mode, units, capacity, holders: {run, mode, units, since, held, ends_by}}; ahead, the runs that go first, and behind,
# that of them for which what it needs is kept; effective_priority by now, which grows by points each every seconds;
# expected, when it is likely to start.
method Why(run: string) -> (why: object)

# Let nothing of a job start until it is resumed, or until an instant; what comes due meanwhile is skipped, what waits
# is held.
method Pause(job: string, until: ?string) -> ()

# Skip what the clock makes due of a job next; due is when that would have started. Undo: start the last of those after
# all.
method SkipNext(job: string, undo: ?bool) -> (due: string)

# Start nothing new on this host: until Release, until an instant, and where boot is true at most until the next boot.
method Hold(until: ?string, boot: ?bool) -> ()

# Let new runs start again on this host.
method Release() -> ()

# Hold a lock for the process that asks, until it ends: alone, shared, or some units of it. The answer comes when it is
# granted; with no_wait it is Refused if that is not at once.
method Lock(lock: string, shared: ?bool, units: ?int, no_wait: ?bool) -> (holder: string, environment: [string]string)

# Let a paused job go on; this fires nothing.
method Resume(job: string) -> ()

# The record of a run, once the run has ended.
method Wait(run: string) -> (record: object)

# Read every job file that has changed, and answer when its jobs count: what became of which ids, and what is refused.
method Reload() -> (
  jobs: int,
  added: []string,
  edited: []string,
  removed: []string,
  stale: []string,
  problems: []Problem
)

error NoSuchJob (job: string)
error NoSuchRun (run: string)
# The run is known, but there is no output of it to be read.
error NoOutput (run: string, reason: string)
# The request makes sense, but not now.
error Refused (reason: string)
error PermissionDenied ()
"""

_SERVICE = "org.varlink.service"

_SERVICE_INTERFACE = """\
# What every varlink service says about itself.
interface org.varlink.service

# The service and the interfaces it implements.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The description of one of the interfaces.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
"""


class MessageError(Exception):
    """The peer sent something that is no message; nothing after it can be trusted, so close the connection."""


class VarlinkError(Exception):
    """An error reply.  A name without dots is one of `INTERFACE`; `name` is always qualified."""

    def __init__(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.name = name if "." in name else f"{NAME}.{name}"
        self.parameters = dict(parameters or {})
        super().__init__(self.name, self.parameters)

    def reply(self) -> Message:
        """The message that carries this error."""
        return {"error": self.name, "parameters": self.parameters}


_UNREADABLE = re.compile(
    r"\\u(?:0000|fd[de].|fff[ef]|d[89ab][37bf]f\\udff[ef])"  # NUL, noncharacters
    r"|(\\\\|\\ud[89ab]..\\ud[c-f]..)"  # as they are: a backslash, a surrogate pair
    r"|\\ud[89a-f].."  # half a surrogate pair
)
"""What systemd's JSON parser refuses a whole message for, as JSON writes it in ASCII."""


def encode(message: Mapping[str, Any]) -> bytes:
    """The message as it goes over the wire; characters that JSON parsers refuse become U+FFFD.

    ValueError for NaN and the infinities, which JSON lacks.
    """
    return text_of(message).encode() + b"\0"


def text_of(value: Any) -> str:
    """A value as JSON, as `encode` has it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return _UNREADABLE.sub(lambda found: found[1] or r"\ufffd", text)


class Decoder:
    """Cuts what a socket delivers, in pieces of any size, into messages of at most `limit` bytes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes; MessageError at the first that is none."""
        head, *rest = data.split(b"\0")
        self._extend(head)
        messages = []
        for piece in rest:
            messages.append(_message(self._partial))
            self._partial = bytearray()
            self._extend(piece)
        return messages

    def _extend(self, piece: bytes) -> None:
        self._partial += piece
        if len(self._partial) > self._limit:
            raise MessageError(f"a message of more than {self._limit} bytes")


def _message(data: bytearray) -> Message:
    try:
        message = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise MessageError("not a JSON object")
    return message


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_IS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "string": lambda value: isinstance(value, str) and value == value.encode(errors="replace").decode(),
    "[]string": lambda value: isinstance(value, list) and all(map(_IS["string"], value)),
}
"""The types of JSON values; half a surrogate pair, which JSON can write, is no character of a string."""


def _fits(kind: str, value: Any) -> bool:
    """Whether a JSON value is of a type as the interface writes it; null and absent are the same."""
    return kind.startswith("?") if value is None else _IS[kind.removeprefix("?")](value)


def _signatures(interface: str, text: str) -> dict[str, dict[str, str]]:
    """Parameters of each method by qualified name: ``{"io.jobqueue.Describe": {"job": "string", "runs": "?int"}}``."""
    methods = re.findall(r"^method (\w+)\((.*?)\)", text, re.M)
    return {f"{interface}.{name}": dict(re.findall(r"(\w+): (\??(?:\[\])?\w+)", fields)) for name, fields in methods}


_INTERFACES = {_SERVICE: _SERVICE_INTERFACE, NAME: INTERFACE}
_METHODS = _signatures(_SERVICE, _SERVICE_INTERFACE) | _signatures(NAME, INTERFACE)


class Service:
    """Answers calls.  `methods` has the callables of `INTERFACE` by short name; what it lacks is "not implemented"."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods: dict[str, Method] = {
            f"{_SERVICE}.GetInfo": _info,
            f"{_SERVICE}.GetInterfaceDescription": _description,
            **{f"{NAME}.{name}": method for name, method in methods.items()},
        }

    def answer(self, call: Message) -> Message | None:
        """The reply to a call; None: nothing is to be sent now (a `oneway` call, or the method answers later)."""
        try:
            parameters = self._method(call)(_parameters(call))
            reply = None if parameters is None else {"parameters": parameters}
        except VarlinkError as error:
            reply = error.reply()
        return None if call.get("oneway") is True else reply

    def _method(self, call: Message) -> Method:
        name = call.get("method")
        if not isinstance(name, str):
            raise _invalid("method")
        interface = name.rpartition(".")[0]
        if interface not in _INTERFACES:
            raise VarlinkError(f"{_SERVICE}.InterfaceNotFound", {"interface": interface})
        if name not in _METHODS:
            raise VarlinkError(f"{_SERVICE}.MethodNotFound", {"method": name})
        if name not in self._methods:
            raise VarlinkError(f"{_SERVICE}.MethodNotImplemented", {"method": name})
        return self._methods[name]


def _parameters(call: Message) -> dict[str, Any]:
    """The call's parameters, checked against the interface; what is null is left out."""
    parameters = call.get("parameters")
    if not isinstance(parameters, dict | None):
        raise _invalid("parameters")
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    fields = _METHODS[call["method"]]
    for name in {**given, **fields}:
        if name not in fields or not _fits(fields[name], given.get(name)):
            raise _invalid(name)
    return given


def _invalid(parameter: str) -> VarlinkError:
    return VarlinkError(f"{_SERVICE}.InvalidParameter", {"parameter": parameter})


def _info(_parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "vendor": "jobqueued",
        "product": "jobqueued",
        "version": __version__,
        "url": "man:jobqueued(8)",
        "interfaces": list(_INTERFACES),
    }


def _description(parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters["interface"]
    if name not in _INTERFACES:
        raise VarlinkError(f"{_SERVICE}.InterfaceNotFound", {"interface": name})
    return {"description": _INTERFACES[name]}
