"""The house keeps its order: who may import whom, what is pure, each library has one room, the small programs stay
small.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from jobqueued import model
from jobqueued.child import cgroup
from jobqueued.model import RunId
from jobqueued.runs.run_directory import Name
from tests.support.house import PACKAGE, files, imports, tree
from tests.support.papers import blocks

WINGS: dict[str, list[str]] = {
    "child": [
        "tuples", "text", "json_values", "telemetry", "signals", "instants", "reasons", "documents", "attempt_life",
        "process", "unix_socket", "atomic_file", "wire", "trust", "tree", "cgroup_files", "cgroup", "identity", "pam",
        "posixspawn", "budget", "shutdown", "control_socket", "audience", "account", "caps", "environment", "as_user",
        "lockfile", "journald", "start_report", "spawn", "watching", "starting",
        "output", "ending", "record", "marks", "title", "hook", "hooks",
        "local_runner", "slurm_runner", "runner",
        "attempt", "sending", "spool", "spool_log", "spool_orders", "supervisor", "callers", "lost",
        "questions", "seat", "watchers", "launcher",
    ],
    "child/notifier": [
        "template", "addresses", "notice", "notice_text", "reach", "network", "program", "mail_delivery",
        "mail", "webhook", "ping",
        "apprise_urls", "main",
    ],
    "child/slurm": ["wrapper", "ends", "calls", "directory", "main"],
    "child/watcher": ["inotify", "listing", "appearing", "main"],
    "child/fleet": [
        "host_order", "wire", "namespace", "neighbours", "values", "lines", "claims", "writes", "ends", "known_locks",
        "others", "skips", "announcements", "requests", "outgoing", "turns", "mark",
        "conversation", "tls", "connection", "gateway", "session", "uplink", "agent", "fence",
    ],
    "vocabulary": [
        "hollow", "sha256", "instants", "run_states", "text", "alike", "copies", "problem",
        "telemetry", "filenames", "submission", "users", "notify", "fleet", "model", "accounts", "saved", "events",
        "commands", "circles", "catalog", "source",
    ],
    "timing": [
        "crontab", "expansion", "cronexpr", "timespec", "schedule", "closest", "clock_changes", "catch_up", "due_times",
    ],
    "jobfile": [
        "words", "yamlslips", "yamlparser", "yamltext", "refusal", "spelling", "scalars", "types", "queue_types",
        "time_types", "process_types", "hook_keys", "notify_keys", "keys", "foreign",
        "drop_ins", "merged_tree", "user_keys", "scopes", "runner_rules", "user_rules", "fleet_keys", "settings_keys",
        "reader",
        "submissions", "mending", "oddities", "schema",
    ],
    "crontabs": ["header", "words", "table", "names", "options", "run_parts", "variables", "periods", "jobs"],
    "exchange": ["yaml_values", "draft", "job_file", "crontab", "reckoning", "proof", "real_cron", "disabling",
        "to_crontab", "calendar_event", "unit_files", "timer", "at_job"],
    "audit": ["timeline", "comparison", "known", "waits", "past"],
    "queue": ["locks", "waiting", "drains", "admission", "placement"],
    "core": [
        "lifecycle", "elsewhere", "event_data", "host_limits", "spans", "record", "record_checks", "telemetry",
        "usual", "recollection", "set_back", "memory", "presence", "fleet_state", "retries", "timers", "patience",
        "job_state", "agenda", "changes", "submitted", "holders", "other_hosts", "scheduler_state", "invariants", "turn", "verdicts",
        "agreement", "lateness", "fleet_overdue", "expectation", "dependencies",
        "skips", "completion", "host_hold", "validity", "eligibility", "redefinition", "occurrences",
        "clock", "fleet_policy",
        "pauses", "jobs", "submissions", "lock_clients",
        "attempts", "host_loss", "fleet_clients", "fleet", "forecast", "why", "attention",
        "scheduler", "trace",
    ],
    "foresight": [
        "durations", "tally", "story", "world", "apart", "calm", "futures", "summary", "suggestions",
        "calibration",
    ],
    "notices": ["happenings", "incidents", "troubles", "places", "outbox", "pings", "notices"],
    "metrics": ["families", "counts", "exposition", "readings"],
    "settings": ["paths", "host_names", "instance", "drop_in_files", "settings"],
    "host": [
        "linux", "descriptors", "wall_timer", "garbage", "psi", "messages", "log", "capacity", "usage", "sd_notify",
        "signals", "detach", "other_cron", "spare_imports", "instance_lock",
    ],
    "state": [
        "faults", "ballast", "formats", "due_bounds", "mirror", "rows", "opening", "own_writes", "store", "write_batch",
        "commits",
        "record_files", "due_history", "past", "takeover", "tally", "ends", "missing_records", "room", "housekeeping",
    ],
    "runs": [
        "kin", "marks", "emptying", "run_directory", "recovery", "lost_attempts", "following", "slurm_order",
        "launch_spec",
        "account_questions",
        "own_program", "fleet_neighbours", "fleet_link", "launcher_link", "launcher_news", "notice_sender", "heartbeat",
    ],
    "jobdir": [
        "trust", "kinds", "units", "file_changes", "inbox", "layers", "acceptance", "watch", "scripts", "time_zones",
        "cron_tables", "user_files", "user_file_watch",
        "job_files", "path_triggers", "user_watchers", "account_files",
    ],
    "control": [
        "interface", "varlink", "access", "peers", "entrance", "identities", "parameters", "ownership", "declaration",
        "replies", "seen", "unwell", "views", "definitions", "summary", "texts",
        "status_calls", "lock_processes", "lock_calls", "crontab_calls", "notice_calls", "due_calls", "monitor",
        "record_calls", "past_calls", "why_calls", "job_calls", "run_calls", "host_calls",
        "event_stream", "settings_file", "reload", "listener", "server", "metrics_file", "user_budget",
        "user_file_calls", "submit_calls", "submission_calls", "dispatcher", "methods",
    ],
    "daemon": [
        "installation", "loop", "run_files", "acts", "trace", "decisions", "state_assembly", "job_assembly",
        "run_assembly", "self_report", "control_assembly", "daemon", "__main__",
    ],
    "ctl": [
        "table", "terminal", "standing", "arguments", "client", "whole_names", "findings", "explain", "reports",
        "completion", "problems", "waiting", "records", "failed_submissions", "receivers", "unlikely", "rhythms",
        "output", "table_files",
        "job_units", "had_first", "job_files", "mends", "origins", "offline", "run_stats", "run_diff", "run_report",
        "report_page", "chosen_runs", "follow", "due_changes", "past_files", "history_diff", "audit", "cat", "check",
        "language_server", "editor", "crontab_spool", "crontab_check", "crontab_edit", "crontab", "old_code",
        "diagnosis", "certificates", "host_health", "process_health", "fleet_health", "doctor", "documents",
        "emit", "history", "run_spans", "otlp", "trace_events", "otlp_receiver", "export", "chart_runs", "chart_file",
        "chart_waits", "chart_text", "chart_page", "timeline", "hold", "fleet",
        "import_sources", "import_jobs", "list", "locks", "snapshot", "back_then", "kept_forecast", "simulated",
        "parallel_futures",
        "simulate", "logs", "metrics_server", "metrics", "expected_starts", "next", "notify", "pause", "reload",
        "report", "restart_launcher", "run", "show", "status", "stop", "top_view", "top_screen",
        "top", "watch", "why", "user_files", "with_lock", "handed_in", "submit", "at",
        "over_ssh", "fleet_tables", "fleet_views", "main", "__main__",
    ],
}  # fmt: skip
"""The wings and their files in the order of allowed imports: a file imports what stands before it.

vocabulary, settings and daemon (the composition root) are the files at the top of the package.
"""

MAP_FILE = PACKAGE.parent / "docs" / "architecture.md"
MAP = MAP_FILE.read_text()

AT_THE_TOP = {"vocabulary", "settings", "daemon"}
PURE_WINGS = {
    "vocabulary", "timing", "jobfile", "crontabs", "exchange", "audit", "queue", "core", "foresight", "notices",
    "metrics",
}  # fmt: skip
PURE_FILES = {
    "child/text", "control/access", "control/interface", "control/seen", "control/varlink", "control/views",
    "ctl/findings", "ctl/handed_in", "ctl/run_stats", "ctl/run_diff", "ctl/run_report", "ctl/run_spans", "ctl/otlp",
    "ctl/trace_events", "ctl/chart_runs", "ctl/chart_file", "ctl/chart_waits",
}  # fmt: skip

STANDARD = {
    "dataclasses", "enum", "heapq", "bisect", "re", "datetime", "zoneinfo", "math", "hashlib", "collections", "typing",
    "contextlib", "itertools", "functools", "operator", "json", "signal", "types", "fnmatch", "urllib", "shlex",
    "__future__", "marshal", "sys", "array", "zlib", "difflib", "base64", "ipaddress",
}  # fmt: skip
"""What a pure file may use of the standard library; nothing in it reads a clock or touches a file by being imported."""

IMPORTS = "hollow"
"""The pure file that says what an import statement imports."""

PURE_OF_CHILD = {
    "child/tuples", "child/text", "child/json_values", "child/telemetry", "child/signals", "child/instants",
    "child/reasons", "child/documents", "child/attempt_life", "child/notifier/template", "child/notifier/addresses",
    "child/fleet/wire", "child/fleet/lines",
    "child/fleet/claims", "child/fleet/conversation", "child/fleet/known_locks", "child/fleet/others",
    "child/fleet/requests", "child/fleet/turns", "child/fleet/skips", "child/fleet/outgoing",
    "child/fleet/announcements", "child/fleet/host_order", "child/fleet/values", "child/fleet/writes",
    "child/fleet/ends", "child/fleet/mark", "child/fleet/namespace", "child/fleet/neighbours", "child/slurm/ends",
}  # fmt: skip
"""Files of the small world that do no I/O."""

ROOMS = {
    "croniter": ["timing/expansion"], "yaml": ["jobfile/yamlparser"], "psutil": ["host/usage"],
    "structlog": ["host/log"], "sdnotify": ["host/sd_notify"], "daemon": ["host/detach"], 
    "apprise": ["child/notifier/apprise_urls"], "prometheus_client": ["ctl/metrics_server"],
    "sqlite3": ["state/faults", "state/formats", "state/mirror", "state/opening", "state/rows", "state/store"],
}  # fmt: skip

SMALL = {
    "__future__", "collections", "contextlib", "ctypes", "enum", "errno", "fcntl", "gc", "grp", "json", "os", "pwd",
    "re", "resource", "select", "signal", "socket", "stat", "sys", "time", "typing",
}  # fmt: skip

NOTIFIER = [f"child/notifier/{name}" for name in WINGS["child/notifier"]]
"""The files of the notifier, which is started for one notice and gone: each loads what its own channel needs."""

WATCHER = {"fnmatch", "itertools", "struct"}
"""What the watcher needs beside that, which is a program of its own."""

SLURM = {"subprocess"}
"""What the helper of a run on Slurm needs beside that, which calls Slurm's own commands."""

AGENT = {"base64", "binascii", "math", "ssl", "threading"}
"""What the agent of a fleet needs to speak with etcd."""

MAILS_AND_POSTS = {
    "apprise", "base64", "binascii", "datetime", "email", "hashlib", "hmac", "http", "logging", "shlex", "smtplib",
    "ipaddress", "ssl", "string", "urllib",
}  # fmt: skip

MODULES_OF_THE_SMALL_WORLD = 79
"""The start-up budget of the launcher, in modules of others; every supervisor shares their memory."""


def wing_of(name: str) -> str:
    """The wing in which a file stands."""
    wing, _, _ = name.rpartition("/")
    return wing or next(wing for wing in AT_THE_TOP if name in WINGS[wing])


HOUSE = [name if wing in AT_THE_TOP else f"{wing}/{name}" for wing, names in WINGS.items() for name in names]
"""Every file but the `__init__`s, without its suffix: ``model``, ``core/scheduler``."""

PURE = [name for name in HOUSE if wing_of(name) in PURE_WINGS or name in PURE_FILES]


def ours(name: str) -> set[str]:
    """The files of the package that a file imports, as HOUSE names them; the packages themselves are nothing."""
    own = {i.removeprefix("jobqueued.").replace(".", "/") for i in imports(name) if i.startswith("jobqueued.")}
    return {i for i in own if not (PACKAGE / i).is_dir()}


def others(name: str) -> set[str]:
    """The top-level packages that a file imports, without ours."""
    return {i.split(".")[0] for i in imports(name)} - {"jobqueued"}


def test_every_file_has_its_place() -> None:
    """The list of wings names every file of the package, and nothing else."""
    assert sorted(HOUSE) == [name for name in files() if not name.endswith("__init__")]


@pytest.mark.parametrize("name", [name for name in HOUSE if not name.startswith("ctl/")])
def test_a_file_is_on_the_map(name: str) -> None:
    """docs/architecture.md names each file in the row of its wing; of ctl/ it says what is no command."""
    wing, _, stem = name.rpartition("/")
    rows = [row for row in MAP.splitlines() if row.startswith(f"| `{wing}/`" if wing else "| (top)")]
    assert any(f"`{stem}`" in row for row in rows)


def test_the_flow_of_data_is_by_wings() -> None:
    """Each arrow of the figure is named by wings, and what is between two is a noun of the model, or no type."""
    figure = MAP.partition("## The flow of data\n\n")[2].partition("\n\n")[0]
    arrows, things = re.findall("─(.+?)─▶", figure), re.split(" *─.+?─▶ *", figure.strip())
    assert len(arrows) + 1 == len(things) > 5
    assert {wing for arrow in arrows for wing in arrow.split(", ")} <= {*WINGS}
    assert {thing for thing in things if thing[0].isupper()} <= {*vars(model)}


def test_the_figure_of_processes_is_complete() -> None:
    """It has the units of systemd/ with their scope, the cgroup of the launcher and that of an attempt, and each small
    program, but for what jobs start.
    """
    figure = MAP.partition("## Processes\n\n")[2].partition("\n\n")[0]
    units = {path.name: path.read_text() for path in (PACKAGE.parent / "systemd").glob("jobqueue*")}
    scope = re.sub(r"\$\{\w+\}", "…", *re.findall("--unit=(.+?) ", units["jobqueued-launcher.service"])) + ".scope"
    shown = re.findall(r"(\S+)\.(service|socket|slice|scope)(?: → \.(\w+))?", figure)
    assert sorted([*units, scope]) == sorted(f"{name}.{kind}" for name, *kinds in shown for kind in kinds if kind)
    small = [name for name in files() if name.startswith("child/")]
    started = {name.removesuffix("/main") for name in small if "__main__" in (PACKAGE / f"{name}.py").read_text()}
    programs = {name.rpartition("/")[2] for name in started} - {"fence", "wrapper"} | {"supervisor", "scheduler"}
    assert programs == set(re.findall(r"  (\w+)(?: …,|:|, of)", figure))
    (cgroups,) = (it for it in blocks((MAP_FILE.parent / "limits.md").read_text()) if "jobqueue.slice" in it)
    assert [f"jobqueue.slice/{scope}", cgroup._SELF, str(Name(RunId("backup", 142), 1))] == re.findall(
        r"^(?:[├└]── )?(\S+) ", cgroups, re.M
    )
    assert {cgroup._SELF, str(Name(RunId("<job>", "<n>"), "<a>"))} == set(re.findall("─ (\\S+)/ ", figure))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOUSE)
def test_a_file_imports_only_what_stands_before_it(name: str) -> None:
    """Imports go downward in the order of the house, so there is no cycle either."""
    assert ours(name) - set(HOUSE[: HOUSE.index(name)]) == set()


@pytest.mark.parametrize("name", [name for name in files() if name.endswith("__init__")])
def test_the_doors_import_nothing(name: str) -> None:
    """The `__init__`s have a docstring; that of the package finds its names on first use."""
    assert ours(name) == set()


@pytest.mark.parametrize("name", PURE)
def test_pure_files_use_harmless_libraries(name: str) -> None:
    """A pure file imports its one library, and harmless parts of the standard library; of the small world nothing that
    does I/O."""
    own = {library for library, rooms in ROOMS.items() if name in rooms} | ({"importlib"} if name == IMPORTS else set())
    assert others(name) - STANDARD - own == set()
    assert {i for i in ours(name) if i not in PURE} - PURE_OF_CHILD == set()


@pytest.mark.parametrize("name", PURE)
def test_pure_files_read_no_clock_and_no_file(name: str) -> None:
    """No now(), today(), open() or print() in a pure file."""
    calls = [node.func for node in ast.walk(tree(name)) if isinstance(node, ast.Call)]
    names = {f.id for f in calls if isinstance(f, ast.Name)} | {f.attr for f in calls if isinstance(f, ast.Attribute)}
    assert names & {"now", "today", "utcnow", "open", "print", "input", "read_text", "read_bytes"} == set()


@pytest.mark.parametrize(("library", "rooms"), ROOMS.items())
def test_each_library_has_one_room(library: str, rooms: list[str]) -> None:
    """A third-party package is imported by one file only."""
    assert rooms == [name for name in files() if library in others(name)]


def test_every_library_has_a_room() -> None:
    """Whatever is neither ours nor Python's is in the list of rooms, or of the command line (click, rich)."""
    foreign = {name: others(name) - sys.stdlib_module_names for name in files()}
    assert {"click", "rich", "prometheus_client"} >= {
        library for name in files() if name.startswith("ctl/") for library in foreign[name]
    }
    assert set(ROOMS) >= {library for name in files() if not name.startswith("ctl/") for library in foreign[name]}


@pytest.mark.parametrize("name", [name for name in HOUSE if name.startswith("child/")])
def test_the_small_world_imports_its_own_only(name: str) -> None:
    """launcher and supervisor import a fixed list of standard modules, and each other."""
    wings = {"child/notifier": MAILS_AND_POSTS, "child/watcher": WATCHER, "child/fleet": AGENT, "child/slurm": SLURM}
    assert others(name) - SMALL - wings.get(wing_of(name), set()) == set()


def test_the_small_world_starts_small() -> None:
    """The launcher, imported as it runs, loads no more modules than its budget, none of the rest of jobqueued."""
    code = "import sys; sys.path.append(sys.argv[1]); import jobqueued.child.launcher; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    own = sorted(name for name in modules if name.startswith("jobqueued"))
    assert own == ["jobqueued", "jobqueued.child", *(f"jobqueued.child.{name}" for name in sorted(WINGS["child"]))]
    assert len(modules) - len(own) <= MODULES_OF_THE_SMALL_WORLD, modules


@pytest.mark.parametrize("name", [name for name in files() if name not in NOTIFIER])
def test_nobody_else_mails_or_posts(name: str) -> None:
    """The files of the notifier are imported by each other only: who hangs in one is nobody but a notifier."""
    assert ours(name) & set(NOTIFIER) - PURE_OF_CHILD == set()


def test_a_channel_pays_for_its_own_libraries() -> None:
    """The notifier, imported as it runs, has loaded none of those that only some channels need."""
    code = "import sys; sys.path.append(sys.argv[1]); import jobqueued.child.notifier.main; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"email", "http", "logging", "smtplib", "ssl"} & {module.partition(".")[0] for module in modules} == set()


def test_the_scheduler_loads_no_more_than_it_needs() -> None:
    """Importing the daemon as its program does pulls in neither what libraries would load (host/spare_imports.py), nor
    what few questions need.
    """
    heavy = {"rich", "greenlet", "asyncio", "dateutil", "pytz", "_hashlib", "click", "psutil"}
    code = (
        "import sys; from jobqueued.host.spare_imports import spare_imports\n"
        "with spare_imports(): import jobqueued.daemon\n"
        f"print(sorted({heavy} & {{*sys.modules}}))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert result.stdout == "[]\n"


def test_the_library_is_lazy() -> None:
    """``import jobqueued`` loads none of it; the names it offers are all there."""
    code = (
        "import sys, jobqueued; print(sorted(m for m in sys.modules if m.startswith('jobqueued')));"
        "print(all(getattr(jobqueued, name) for name in jobqueued.__all__))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert result.stdout == "['jobqueued']\nTrue\n"


QUESTIONS = {"What", "Who", "Whose", "Whether", "How", "Why", "When", "Where", "Which", "Whatever"}


@pytest.mark.parametrize("name", files())
def test_docstrings_say_the_thing_first(name: str) -> None:
    """They begin with a verb or a noun, not with a question."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree(name)) if isinstance(node, documented)]
    assert [] == [text for text in texts if text.split(" ")[0] in QUESTIONS]
