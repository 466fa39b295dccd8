"""The tree of a job file and its drop-ins."""

from __future__ import annotations

from collections.abc import Sequence

from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.tree.drop_ins import FileText, merged
from jobqueued.jobfile.tree.yamltext import PART, Mapping, Node, Steps, is_null, read_trees_in_steps
from jobqueued.jobfile.types.refusal import Refusal
from jobqueued.jobfile.types.types import mapping

TOP = mapping("a mapping with the keys defaults and jobs such as {jobs: {hello: {command: echo hi}}}", dict)
_EMPTY = "found an empty drop-in; expected `{}`, or a link to /dev/null, for a drop-in without changes"


class Merged(NamedTuple):
    """The tree of a file and its drop-ins, the YAML errors, and the keys in drop-ins that remove nothing."""

    tree: Node | None
    problems: list[Problem]
    refusals: list[Problem]
    of_no_effect: list[Problem]


def merged_tree(parts: Sequence[FileText]) -> Steps[Merged]:
    """Build the tree from all parts, in steps."""
    (tree, problems), *others = yield from read_trees_in_steps(parts)
    refusals, of_no_effect = list[Problem](), list[Problem]()
    if others and (tree is None or is_null(tree)):
        tree = Mapping(1, 1, {})
    for number, (above, found) in enumerate(others, 1):
        yield
        problems += found
        if above is None or is_null(above):
            refusals += [] if parts[number].text else [Problem("", number * PART, 0, "", _EMPTY, code="JQ109")]
        elif not isinstance(above, Mapping):
            refusals.append(Refusal.of(above, TOP.accepted).problem())
        elif isinstance(tree, Mapping):
            tree = merged(tree, above, of_no_effect)
    return Merged(tree, problems, refusals, of_no_effect)
