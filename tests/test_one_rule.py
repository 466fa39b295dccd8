"""One rule, one place: what was written twice once can't be written a second time.

What the small programs and the rest both need is written in child/ and imported from there.  A test looks for the marks
of another definition in the syntax of all files but the rule's own.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND, to_instant, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.recollection import after, run_of
from jobqueued.core.records.usual import RECENT, middle
from jobqueued.core.state.job_state import JobState
from jobqueued.ctl.files.rhythms import usual_times
from jobqueued.ctl.past.chosen_runs import usual_of
from jobqueued.ctl.simulate.snapshot import known_samples
from jobqueued.model.saved import SavedJob
from jobqueued.settings.paths import Paths
from jobqueued.state.record_files import write
from tests.support.house import files, nodes_of
from tests.support.records import a_record


@cache
def literals(name: str) -> set[str]:
    """Every string of a file but its docstrings; the parts of an f-string one by one."""
    prose = {id(node.value) for node in nodes_of(name) if isinstance(node, ast.Expr)}
    found = [node.value for node in nodes_of(name) if isinstance(node, ast.Constant) and id(node) not in prose]
    return {
        text if isinstance(text, str) else text.decode(errors="replace")
        for text in found
        if isinstance(text, str | bytes)
    }


@cache
def calls(name: str) -> list[ast.Call]:
    """Every call of a file."""
    return [node for node in nodes_of(name) if isinstance(node, ast.Call)]


def called(name: str) -> set[str]:
    """The attributes that a file calls, ``rename`` of ``os.rename(…)`` and ``path.rename(…)``."""
    return {call.func.attr for call in calls(name) if isinstance(call.func, ast.Attribute)}


def imported(name: str) -> set[str]:
    """The modules that a file imports as a whole."""
    return {alias.name for node in nodes_of(name) if isinstance(node, ast.Import) for alias in node.names}


def reads_a_stat(name: str) -> bool:
    """True of a file that has a path which ends in ``/stat``."""
    return any(text.endswith("/stat") for text in literals(name) - {"/proc/stat"})


def writes_aside(name: str) -> bool:
    """True of a file that writes beside the name that it is to have."""
    return "rename" in called(name) and any(text.startswith((".tmp", ".new")) for text in literals(name))


def goes_by_a_descriptor(name: str) -> bool:
    """True of a file with sockets that knows how a descriptor is a path."""
    return "/proc/self/fd/" in literals(name) and "socket" in imported(name)


def names_signals(name: str) -> bool:
    """True of a file that can tell the name of a signal's number."""
    return "Signals" in called(name)


def writes_instants(name: str) -> bool:
    """True of a file that takes an instant of UTC apart, or has the form in which RFC 3339 puts it together."""
    return "gmtime" in called(name) or any("%dT%H" in text for text in literals(name))


def frames_fields(name: str) -> bool:
    """True of a file that puts a length of 64 bits before a field of journald's."""
    lengths = [call for call in calls(name) if isinstance(call.func, ast.Attribute) and call.func.attr == "to_bytes"]
    texts = [[argument.value for argument in call.args if isinstance(argument, ast.Constant)] for call in lengths]
    return [8, "little"] in texts and "MESSAGE" in {text.partition("\n")[0] for text in literals(name)}


def takes(name: str, module: str, what: str) -> bool:
    """True of a file that imports something by its name."""
    froms = [node for node in nodes_of(name) if isinstance(node, ast.ImportFrom) and node.module == module]
    return what in {alias.name for node in froms for alias in node.names}


RULES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "/proc/PID/stat is read": ("child/processes/process", reads_a_stat),
    "a file is replaced by rename": ("child/contract/atomic_file", writes_aside),
    "a socket's path may have any length": ("child/contract/unix_socket", goes_by_a_descriptor),
    "a signal has a name": ("child/contract/signals", names_signals),
    "an instant is RFC 3339": ("child/contract/instants", writes_instants),
    "an entry is framed for journald": ("child/report/journald", frames_fields),
    "a named tuple is made quickly": ("child/contract/tuples", lambda name: takes(name, "typing", "NamedTuple")),
}
"""What is done, the one file that does it for all, and how another that did would be known."""


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_one_place(rule: str) -> None:
    """No second file does what one file does for all."""
    place, does = RULES[rule]
    assert [place] == [name for name in files() if does(name)]


NOT_LASTING = {
    "__main__": "it can't leave its paths, and the start goes on",
    "daemon/acts": "what could not be done for one run or command; its answer or the next try tells",
    "daemon/daemon": "what was found at the start or is lost at the end; and it gathers the others",
    "daemon/run_assembly": "what was found at the start",
    "daemon/run_files": "what could not be done for one run; the next try tells",
    "daemon/state_assembly": "what was found at the start",
}
"""The files that say what is no trouble any more once it is said, and what that is."""


def says_trouble(name: str) -> bool:
    """True of a file that says it in the log."""
    first = [call.args[0] for call in calls(name) if call.args]
    return any(isinstance(argument, ast.Constant) and argument.value == "trouble" for argument in first)


def tells_trouble(name: str) -> bool:
    """True of a file that can be asked for what lasts."""
    everything = nodes_of(name)
    asked = any(isinstance(node, ast.FunctionDef) and node.name == "troubles" for node in everything)
    return asked or any(isinstance(node, ast.Attribute) and ast.unparse(node) == "self.trouble" for node in everything)


def test_troubles_last() -> None:
    """Whatever says in the log that there is trouble says it in `status` too, as long as there is."""
    assert sorted(NOT_LASTING) == [
        name for name in files() if not name.startswith("ctl/") and says_trouble(name) and not tells_trouble(name)
    ]


def test_connecting() -> None:
    """Nobody else connects a socket to a path, or binds it to one: `sun_path` holds 108 bytes."""
    found = [
        f"{name}: {ast.unparse(call)}"
        for name in files()
        if name != "child/contract/unix_socket"
        for call in calls(name)
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("connect", "bind") and call.args
        if not ast.unparse(call).startswith(("unix_socket.", "sqlite3."))
        if not ast.unparse(call.args[0]).startswith("unix_socket.address(")
        if not isinstance(call.args[0], ast.Tuple)  # a host and a port
    ]
    assert [] == found


def nodes(*own: str, kinds: tuple[type[ast.AST], ...]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of these kinds in every file but the rule's `own`, with its place: ``core/explain/why.py:12``."""
    for name in files():
        if f"{name}.py" not in own:
            for node in nodes_of(name):
                if isinstance(node, kinds):
                    yield f"{name}.py:{getattr(node, 'lineno', 0)}", node


def named(node: ast.AST) -> set[str]:
    """The word that an element is: a text, or the last part of a name (``RunState.DUE`` is "due")."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return {name.lower()}
    return set()


def behind_values(node: ast.AST) -> Iterator[str]:
    """What follows a value inside an f-string: " s" in ``f"{seconds} s"``."""
    if isinstance(node, ast.JoinedStr):
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                yield str(text.value)


def test_durations() -> None:
    """`text.duration` alone knows the names of the units of time."""
    unit = re.compile(r" ?(ms|min|h|d)\b")
    places = [
        place
        for place, node in nodes("base/text.py", kinds=(ast.JoinedStr, ast.Constant))
        if any(unit.match(text) for text in behind_values(node))
        or (isinstance(node, ast.Constant) and node.value == "min")
    ]
    assert places == []


def test_sizes() -> None:
    """`text.size` alone knows the names of the units of bytes."""
    unit = re.compile(r" ?([KMGTP]?iB|B)\b")
    names = {"KiB", "MiB", "GiB", "TiB"}
    places = [
        place
        for place, node in nodes("child/contract/text.py", kinds=(ast.JoinedStr, ast.Constant))
        if any(unit.match(text) for text in behind_values(node))
        or (isinstance(node, ast.Constant) and node.value in names)
    ]
    assert places == []


def test_plurals() -> None:
    """`text.counted` alone makes a plural of a noun."""
    places = [
        place
        for place, node in nodes("child/contract/text.py", kinds=(ast.BinOp,))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and named(node.left) == {"s"}
    ]
    assert places == []


def test_printable() -> None:
    """`text.printable` alone replaces letters that can't be printed."""
    places = [
        place
        for place, node in nodes("child/contract/text.py", kinds=(ast.GeneratorExp, ast.ListComp))
        if isinstance(node, ast.GeneratorExp | ast.ListComp) and isinstance(node.elt, ast.IfExp)
        if "isprintable" in (words := {word for each in ast.walk(node.elt) for word in named(each)})
        if "printable" not in words
    ]
    assert places == []


def test_pending_states() -> None:
    """`run_states.PENDING` alone lists the states of a run that has no live attempt and has not ended."""
    states = {"due", "waiting", "retrying"}
    places = [
        place
        for place, node in nodes("model/run_states.py", kinds=(ast.Set, ast.Tuple, ast.List, ast.Constant))
        if (
            isinstance(node, ast.Set | ast.Tuple | ast.List)
            and states <= {text for e in node.elts for text in named(e)}
        )
        or (isinstance(node, ast.Constant) and states <= set(re.findall("'([a-z]+)'", str(node.value))))
    ]
    assert places == []


def test_thousandths_of_a_core() -> None:
    """`model.CORE` alone says how many units of CPU a core is: who knows of CPU calculates with no 1000."""
    knowing = {
        place.partition(":")[0]
        for place, node in nodes(kinds=(ast.ImportFrom,))
        if isinstance(node, ast.ImportFrom) and any(alias.name in ("CPU", "CORE") for alias in node.names)
    }
    thousand = {
        place
        for place, node in nodes("model/job.py", "model/run.py", kinds=(ast.BinOp, ast.Compare, ast.Assign))
        if isinstance(node, ast.BinOp | ast.Compare)
        or (isinstance(node, ast.Assign) and any("core" in word for target in node.targets for word in named(target)))
        if any(isinstance(part, ast.Constant) and part.value == 1000 for part in ast.iter_child_nodes(node))
    }
    assert {place for place in thousand if place.partition(":")[0] in knowing} == set()


def test_what_is_simulated_is_as_usual(tmp_path: Path) -> None:
    """The median of what the simulation draws from is the time by which the daemon tells starts, and draws progress."""
    luck, told = random.Random(22), set[int]()
    for number in range(12):
        saved, ran = SavedJob(job=f"j{number}"), 0
        slow = luck.randint(1, 140)
        for nth in range(1, luck.randint(2, 150)):
            document = a_record(nth, "skipped" if luck.random() < 0.3 else "succeeded", saved.job)
            if document["attempts"]:
                ran += 1
                begun = to_instant(datetime.fromisoformat(document["attempts"][0]["started"]))
                ended = to_text(begun + (luck.randint(1, 9) if nth < slow else luck.randint(20, 900)) * SECOND)
                document["attempts"][0]["ended"] = document["ended"] = ended
            write(tmp_path, document)
            saved = after(saved, run_of(document), document)
        drawn = [sample.took for sample in known_samples(tmp_path, saved.job)]
        assert (min(ran, RECENT), JobState(saved).usual) == (len(drawn), middle(drawn) if drawn else None)
        told.add(ran)
    assert max(told) > RECENT > min(told)


def test_what_is_usual(tmp_path: Path) -> None:
    """The daemon, which keeps a list, and who reads records have the same time for the usual of a job's runs."""
    luck, paths = random.Random(22), Paths.chosen(tmp_path)
    for number in range(30):
        saved, found = SavedJob(job=f"j{number}"), list[Record]()
        for nth in range(1, luck.randint(6, 11)):
            document = a_record(nth, luck.choice(["succeeded", "failed"]) if nth > 5 else "succeeded", saved.job)
            ended = to_instant(datetime.fromisoformat(document["ended"] or "")) + luck.randint(0, 9000) * SECOND
            document["attempts"][0]["ended"] = document["ended"] = to_text(ended)
            document["attempts"][0]["failover"] = luck.random() < 0.2 and nth > 5
            write(paths.logs, document)
            found.insert(0, document)
            saved = after(saved, run_of(document), document)
        usual = JobState(saved).usual
        assert [usual, usual] == [round((usual_of(found) or 0) * SECOND), usual_times(paths)(saved.job)]
