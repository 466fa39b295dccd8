"""The house keeps its order: who may import whom, what is pure, each library has one room, the small programs stay
small.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from jobqueued.child.processes import cgroup
from jobqueued.model import job, run
from jobqueued.model.run import RunId
from jobqueued.runs.run_directory import Name
from tests.support.house import PACKAGE, files, imports, nodes_of, tree
from tests.support.papers import blocks

FOLDERS = {
    folder: names.split()
    for folder, names in {
        "child/contract": """
            atomic_file documents instants json_values reasons signals text trust tuples unix_socket wire""",
        "child/processes": "cgroup_files cgroup process title tree",
        "child/start": """
            identity as_user caps environment lockfile pam posixspawn attributes become start_report spawn starting""",
        "child/report": "account budget control_socket followers journald marks output record",
        "child/hooks": "telemetry hook hooks",
        "child/attempt": "attempt_life ending local_runner slurm_runner runner shutdown attempt",
        "child/spool": "spool spool_log spool_orders",
        "child": "callers adopted_attempts sending watching supervisor questions worker watchers launcher",
        "child/notifier": """
            addresses notice template notice_text reach apprise_urls network program mail_delivery mail webhook ping
            main""",
        "child/slurm": "ends calls directory wrapper main",
        "child/watcher": "inotify listing appearing main",
        "child/fleet/etcd": "connection host_order namespace tls wire gateway values",
        "child/fleet": """
            lines claims mark neighbours writes session known_locks lock_queue others announcements ends skips
            requests outgoing conversation uplink agent fence""",
        "base": "filenames import_stubs instants intern problem replace sha256 text",
        "model": """
            submission users notify run_states telemetry job accounts cycles catalog fleet run saved commands
            events source""",
        "timing": "catch_up clock_changes crontab expansion cronexpr schedule closest due_times timespec",
        "jobfile/tree": "words yamlparser yamlslips yamltext drop_ins",
        "jobfile/types": "refusal spelling scalars types queue_types process_types time_types",
        "jobfile/keys": "fleet_keys hook_keys notify_keys keys user_keys settings_keys",
        "jobfile": "foreign merged_tree runner_rules scopes user_rules reader mending oddities schema submissions",
        "crontabs": "header words table names options run_parts variables periods jobs",
        "exchange": """
            draft at_job calendar_event yaml_values crontab disabling job_file reckoning proof real_cron unit_files
            timer to_crontab""",
        "audit": "timeline comparison known waits past",
        "queue": "drains locks rates waiting admission placement",
        "core/records": """
            event_data host_limits lifecycle spans record usual recollection record_checks telemetry wishes""",
        "core/hosts": "claimed_by_others memory presence fleet_state",
        "core/state": """
            agenda changes holders job_state lateness_deadlines other_hosts submitted timers scheduler_state
            invariants turn""",
        "core/late": "fleet_overdue expectation lateness",
        "core/runs": "dependencies retries skips completion host_hold eligibility validity verdicts",
        "core/due": "occurrences set_back redefinition clock",
        "core/jobs": "agreement pauses jobs submissions",
        "core/with_lock": "lock_clients fleet_clients",
        "core/attempts": "attempts host_loss",
        "core/fleet": "fleet to_return fleet_policy",
        "core/explain": "attention forecast why",
        "core": "scheduler trace",
        "foresight": """
            tally calibration durations simulated_host fast_path partition futures story summary suggestions""",
        "notices": "failing_receivers happenings incidents send_slots lanes outbox pings notices",
        "metrics": "families counts exposition readings",
        "settings": "drop_in_files host_names paths instance settings",
        "host": """
            capacity descriptors detach garbage instance_lock linux messages log other_cron psi sd_notify signals
            spare_imports usage wall_timer""",
        "state/db": "ballast due_bounds faults formats mirror rows opening own_writes store",
        "state": """
            write_batch commits disk_budget due_history ends record_files missing_records retention
            housekeeping past takeover""",
        "runs": """
            account_questions emptying fleet_neighbours own_program fleet_link leftover_processes marks
            run_directory recovery lost_attempts left_supervisors following slurm_order launch_spec launcher_link
            notice_sender heartbeat launcher_news""",
        "jobdir": """
            trust kinds acceptance account_files scripts cron_tables file_changes inbox time_zones user_files
            user_file_rules units layers watch user_file_watch job_files path_triggers user_watchers""",
        "control/protocol": """
            access peers interface varlink at_lists ownership declaration entrance identities parameters replies
            call_rate""",
        "control/views": "definitions problems seen views texts",
        "control/calls": """
            crontab_calls due_calls event_stream host_calls job_calls lock_processes lock_calls monitor notice_calls
            past_calls record_calls settings_file reload run_calls status_calls accepted_submissions submit_calls
            user_file_calls why_calls""",
        "control": "dispatcher listener methods metrics_file server summary",
        "daemon": """
            loop run_files acts installation job_assembly state_assembly run_assembly control_assembly trace
            decisions self_report daemon""",
        "": "__main__",
        "ctl/base": """
            arguments table terminal client findings completion documents editor hold_messages output problems
            tags waiting records whole_names""",
        "ctl/files": """
            table_files job_units origins cat explain id_conflicts receivers unlikely job_files fixes reports
            rhythms check language_server reload user_files""",
        "ctl/past": """
            due_changes audit offline chosen_runs failed_submissions follow run_stats run_diff history_diff history
            past_files""",
        "ctl/doctor": "certificates diagnosis old_code fleet_health host_health process_health doctor",
        "ctl/crontab": "crontab_check crontab_spool crontab_edit crontab import_sources import_jobs",
        "ctl/report": "run_report report_page report",
        "ctl/export": "run_spans otlp otlp_receiver trace_events export metrics_server metrics",
        "ctl/chart": "chart_runs chart_file chart_page chart_waits chart_text timeline",
        "ctl/simulate": "kept_forecast parallel_futures snapshot expected_starts past_snapshot simulated simulate",
        "ctl/view": "job_settings list locks logs next notify show status watch why",
        "ctl/act": "submit_input submit at emit hold pause restart_launcher run stop with_lock",
        "ctl/top": "top_view top_screen top",
        "ctl/fleet": "fleet fleet_tables over_ssh fleet_views",
        "ctl": "main __main__",
    }.items()
}
"""The folders and their files in the order of allowed imports: a file imports only what stands before it."""

MAP_FILE = PACKAGE.parent / "docs" / "architecture.md"
MAP = MAP_FILE.read_text()

MOST_FILES = 20
"""The most files in a folder, with its `__init__`."""

PURE_FOLDERS = {
    "base",
    "model",
    "timing",
    "jobfile",
    "crontabs",
    "exchange",
    "audit",
    "queue",
    "core",
    "foresight",
    "notices",
    "metrics",
}
"""The folders that do no I/O and read no clock, with the folders inside them."""
PURE_FILES = {
    "child/contract/text",
    "control/protocol/access",
    "control/protocol/interface",
    "control/views/seen",
    "control/protocol/varlink",
    "control/views/views",
    "ctl/base/findings",
    "ctl/act/submit_input",
    "ctl/past/run_stats",
    "ctl/past/run_diff",
    "ctl/report/run_report",
    "ctl/export/run_spans",
    "ctl/export/otlp",
    "ctl/export/trace_events",
    "ctl/chart/chart_runs",
    "ctl/chart/chart_file",
    "ctl/chart/chart_waits",
}

STANDARD = {
    "dataclasses",
    "enum",
    "heapq",
    "bisect",
    "re",
    "datetime",
    "zoneinfo",
    "math",
    "hashlib",
    "collections",
    "typing",
    "contextlib",
    "itertools",
    "functools",
    "operator",
    "json",
    "signal",
    "types",
    "fnmatch",
    "urllib",
    "shlex",
    "__future__",
    "marshal",
    "sys",
    "array",
    "zlib",
    "difflib",
    "base64",
    "ipaddress",
}
"""What a pure file may use of the standard library; nothing in it reads a clock or touches a file by being imported."""

IMPORTS = "base/import_stubs"
"""The pure file that says what an import statement imports."""

PURE_OF_CHILD = {
    "child/contract/tuples",
    "child/contract/text",
    "child/contract/json_values",
    "child/hooks/telemetry",
    "child/contract/signals",
    "child/contract/instants",
    "child/contract/documents",
    "child/contract/reasons",
    "child/attempt/attempt_life",
    "child/notifier/template",
    "child/notifier/addresses",
    "child/fleet/etcd/wire",
    "child/fleet/lines",
    "child/fleet/claims",
    "child/fleet/conversation",
    "child/fleet/known_locks",
    "child/fleet/others",
    "child/fleet/requests",
    "child/fleet/lock_queue",
    "child/fleet/skips",
    "child/fleet/outgoing",
    "child/fleet/announcements",
    "child/fleet/etcd/host_order",
    "child/fleet/etcd/values",
    "child/fleet/writes",
    "child/fleet/ends",
    "child/fleet/mark",
    "child/fleet/etcd/namespace",
    "child/fleet/neighbours",
    "child/slurm/ends",
}
"""Files of the small world that do no I/O."""

ROOMS = {
    "croniter": ["timing/expansion"],
    "yaml": ["jobfile/tree/yamlparser"],
    "psutil": ["host/usage"],
    "structlog": ["host/log"],
    "sdnotify": ["host/sd_notify"],
    "daemon": ["host/detach"],
    "apprise": ["child/notifier/apprise_urls"],
    "prometheus_client": ["ctl/export/metrics_server"],
    "sqlite3": [
        "state/db/faults",
        "state/db/formats",
        "state/db/mirror",
        "state/db/opening",
        "state/db/rows",
        "state/db/store",
    ],
}

SMALL = {
    "__future__",
    "collections",
    "contextlib",
    "ctypes",
    "enum",
    "errno",
    "fcntl",
    "gc",
    "grp",
    "json",
    "os",
    "pwd",
    "re",
    "resource",
    "select",
    "signal",
    "socket",
    "stat",
    "sys",
    "time",
    "typing",
}

NOTIFIER = [f"child/notifier/{name}" for name in FOLDERS["child/notifier"]]
"""The files of the notifier, which is started for one notice and gone: each loads what its own channel needs."""

WATCHER = {"fnmatch", "itertools", "struct"}
"""What the watcher needs beside that, which is a program of its own."""

SLURM = {"subprocess"}
"""What the helper of a run on Slurm needs beside that, which calls Slurm's own commands."""

AGENT = {"base64", "binascii", "math", "ssl", "threading"}
"""What the agent of a fleet needs to speak with etcd."""

MAILS_AND_POSTS = {
    "apprise",
    "base64",
    "binascii",
    "datetime",
    "email",
    "hashlib",
    "hmac",
    "http",
    "logging",
    "shlex",
    "smtplib",
    "ipaddress",
    "ssl",
    "string",
    "urllib",
}

MODULES_OF_THE_SMALL_WORLD = 79
"""The start-up budget of the launcher, in modules of others; every supervisor shares their memory."""


def folder_of(name: str) -> str:
    """The folder in which a file stands; "" for the top."""
    return name.rpartition("/")[0]


HOUSE = [f"{folder}/{name}".lstrip("/") for folder, names in FOLDERS.items() for name in names]
"""Every file but the `__init__`s, without its suffix: ``model/job``, ``core/scheduler``."""

PURE = [name for name in HOUSE if name.partition("/")[0] in PURE_FOLDERS or name in PURE_FILES]


def ours(name: str) -> set[str]:
    """The files of the package that a file imports, as HOUSE names them; the packages themselves are nothing."""
    own = {i.removeprefix("jobqueued.").replace(".", "/") for i in imports(name) if i.startswith("jobqueued.")}
    return {i for i in own if not (PACKAGE / i).is_dir()}


def module(name: str) -> str:
    """The name by which Python imports a file."""
    return f"jobqueued.{name.removesuffix('/__init__').replace('/', '.')}"


def others(name: str) -> set[str]:
    """The top-level packages that a file imports, without ours."""
    return {i.split(".")[0] for i in imports(name)} - {"jobqueued"}


def test_every_file_has_its_place() -> None:
    """The list of folders names every file of the package, and nothing else."""
    assert sorted(HOUSE) == [name for name in files() if not name.endswith("__init__")]


def test_a_folder_is_small() -> None:
    """A reader sees all files of a folder at once."""
    counts = {folder: len([*(PACKAGE / folder).glob("*.py")]) for folder in FOLDERS}
    assert {} == {folder: count for folder, count in counts.items() if count > MOST_FILES}


def test_a_folder_is_on_the_map_and_says_where_to_begin() -> None:
    """docs/architecture.md has one row for each folder; the folder's docstring names the file to read first."""
    folders = [folder for folder in FOLDERS if folder]
    rows = Counter(re.findall(r"^\| `(\S+)/`", MAP, re.M))
    assert [] == [folder for folder in folders if rows[folder] != 1]
    for folder in folders:
        (begin,) = re.findall(r"Begin\s+with\s+`(\w+)`\.", ast.get_docstring(tree(f"{folder}/__init__")) or "")
        assert begin in FOLDERS[folder], folder


def test_the_flow_of_data_is_by_folders() -> None:
    """Each arrow of the figure is named by folders, and what is between two is a noun of the model, or no type."""
    figure = MAP.partition("## The flow of data\n\n")[2].partition("\n\n")[0]
    arrows, things = re.findall("─(.+?)─▶", figure), re.split(" *─.+?─▶ *", figure.strip())
    assert len(arrows) + 1 == len(things) > 5
    assert {folder for arrow in arrows for folder in arrow.split(", ")} <= {*FOLDERS}
    assert {thing for thing in things if thing[0].isupper()} <= {*vars(job), *vars(run)}


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


def violations(names: Iterable[str], found: Callable[[str], set[str]]) -> dict[str, set[str]]:
    """Return what a rule finds in each of these files, without the files in which it finds nothing."""
    return {name: wrong for name in names if (wrong := found(name))}


def test_a_file_imports_only_what_stands_before_it() -> None:
    """Imports go downward in the order of the house, so there is no cycle either."""
    place = {name: number for number, name in enumerate(HOUSE)}
    assert {} == violations(HOUSE, lambda name: {i for i in ours(name) if place.get(i, len(place)) >= place[name]})


def test_the_doors_import_nothing() -> None:
    """The `__init__`s have a docstring; that of the package finds its names on first use."""
    assert {} == violations((name for name in files() if name.endswith("__init__")), ours)


def test_pure_files_use_harmless_libraries() -> None:
    """A pure file imports its one library, and harmless parts of the standard library; of the small world nothing that
    does I/O."""
    own = {IMPORTS: {"importlib"}}
    for library, rooms in ROOMS.items():
        for name in rooms:
            own.setdefault(name, set()).add(library)
    assert {} == violations(PURE, lambda name: others(name) - STANDARD - own.get(name, set()))
    assert {} == violations(PURE, lambda name: ours(name) - {*PURE} - PURE_OF_CHILD)


def called(name: str) -> set[str]:
    """The functions and methods that a file calls, without what stands before them."""
    calls = [node.func for node in nodes_of(name) if isinstance(node, ast.Call)]
    return {f.id for f in calls if isinstance(f, ast.Name)} | {f.attr for f in calls if isinstance(f, ast.Attribute)}


def test_pure_files_read_no_clock_and_no_file() -> None:
    """No now(), today(), open() or print() in a pure file."""
    worldly = {"now", "today", "utcnow", "open", "print", "input", "read_text", "read_bytes"}
    assert {} == violations(PURE, lambda name: called(name) & worldly)


def test_each_library_has_one_room() -> None:
    """A third-party package is imported by one file only."""
    assert {library: [name for name in files() if library in others(name)] for library in ROOMS} == ROOMS


def test_every_library_has_a_room() -> None:
    """Whatever is neither ours nor Python's is in the list of rooms, or of the command line (click, rich)."""
    foreign = {name: others(name) - sys.stdlib_module_names for name in files()}
    assert {"click", "rich", "prometheus_client"} >= {
        library for name in files() if name.startswith("ctl/") for library in foreign[name]
    }
    assert set(ROOMS) >= {library for name in files() if not name.startswith("ctl/") for library in foreign[name]}


def test_the_small_world_imports_its_own_only() -> None:
    """launcher and supervisor import a fixed list of standard modules, and each other."""
    programs = {"notifier": MAILS_AND_POSTS, "watcher": WATCHER, "fleet": AGENT, "slurm": SLURM}
    small = [name for name in HOUSE if name.startswith("child/")]
    assert {} == violations(small, lambda name: others(name) - SMALL - programs.get(name.split("/")[1], set()))


def test_the_small_world_starts_small() -> None:
    """The launcher, imported as it runs, loads no more modules than its budget, none of the rest of jobqueued."""
    code = "import sys; sys.path.append(sys.argv[1]); import jobqueued.child.launcher; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    own = sorted(name for name in modules if name.startswith("jobqueued"))
    programs = ("child/notifier/", "child/watcher/", "child/fleet/", "child/slurm/")
    expected = [name for name in files() if name.startswith("child/") and not name.startswith(programs)]
    assert own == sorted({"jobqueued", *(module(name) for name in expected)})
    assert len(modules) - len(own) <= MODULES_OF_THE_SMALL_WORLD, modules


def test_nobody_else_mails_or_posts() -> None:
    """The files of the notifier are imported by each other only: who hangs in one is nobody but a notifier."""
    assert {} == violations({*files()} - {*NOTIFIER}, lambda name: ours(name) & {*NOTIFIER} - PURE_OF_CHILD)


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


def docstrings(name: str) -> Iterator[str]:
    """The docstrings of a file, of its classes and of its functions."""
    for node in nodes_of(name):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node, clean=False) or ""


def test_docstrings_say_the_thing_first() -> None:
    """They begin with a verb or a noun, not with a question."""
    texts = ((name, text.split()) for name in files() for text in docstrings(name))
    assert [] == [(name, *words) for name, words in texts if words and words[0] in QUESTIONS]


def test_a_class_name_is_defined_once() -> None:
    """A reader who meets the name of a class knows which class it is."""
    defined = Counter(node.name for name in files() for node in nodes_of(name) if isinstance(node, ast.ClassDef))
    assert [] == [name for name, times in defined.items() if times > 1]
