"""The mutants of a file: each is its tree with one place changed, as a slip of the one who wrote it would have it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

_OPPOSITE: dict[type, type] = {
    one: other
    for pair in (
        (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn),
        (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv), (ast.BitAnd, ast.BitOr),
        (ast.LShift, ast.RShift), (ast.Continue, ast.Break),
    )
    for one, other in (pair, pair[::-1])
}  # fmt: skip
_OTHER_NAME = {"min": "max", "max": "min", "any": "all", "all": "any"}
_REMOVED = (ast.AugAssign, ast.Delete, ast.Raise, ast.Assert, ast.Continue, ast.Break)
_NO_CODE = ("annotation", "returns", "decorator_list", "bases", "type_comment")


class Mutant(NamedTuple):
    """One change: of which statement, what it becomes, and where in the tree.  `name` stays when lines move."""

    name: str
    path: Path
    function: tuple[str, ...]
    """The function that is changed, with its classes; (): the file's or a class's own statements."""
    lines: range
    before: str
    after: str
    place: tuple[ast.AST, str, int | None]
    new: ast.AST
    tree: ast.Module

    def __str__(self) -> str:
        where = f"{self.path.parent.name}/{self.path.name}"
        return f"{self.name} {where}:{self.lines.start}: {self.before}  →  {self.after}"

    def apply(self) -> None:
        """Change the tree of the file."""
        _put(self.place, self.new)


def mutants(path: Path) -> list[Mutant]:
    """All mutants of a file."""
    tree = ast.parse(path.read_text())
    seen: Counter[tuple[object, ...]] = Counter()
    found = []
    for function, statement, place, old in _places(tree, (), None):
        for new in _changed(old):
            ast.copy_location(new, old)
            ast.fix_missing_locations(new)
            before = _head(statement)
            _put(place, new)
            after = _head(new if old is statement else statement)
            _put(place, old)
            key = path.name, function, before, after
            seen[key] += 1
            name = sha256(repr((path.parent.name, *key, seen[key])).encode()).hexdigest()[:8]
            found.append(Mutant(name, path, function, _lines(statement), before, after, place, new, tree))
    return found


def _put(place: tuple[ast.AST, str, int | None], node: ast.AST) -> None:
    parent, field, index = place
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _places(
    parent: ast.AST, names: tuple[str, ...], statement: Any, *, inside: bool = False
) -> Iterator[tuple[tuple[str, ...], Any, tuple[ast.AST, str, int | None], ast.AST]]:
    """Yield each node below one that is code: its function (with the classes), statement and place, and itself."""
    for field, value in ast.iter_fields(parent):
        within = inside or (isinstance(parent, ast.FunctionDef) and field == "body")
        for index, node in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(node, ast.AST) or field in _NO_CODE:
                continue
            its = node if isinstance(node, ast.stmt | ast.match_case) else statement
            is_named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not within
            below = (*names, node.name) if is_named else names  # type: ignore[attr-defined]
            yield below if within or isinstance(node, ast.FunctionDef) else (), its, (parent, field, index), node
            yield from _places(node, below, its, inside=within)


def _lines(statement: Any) -> range:
    """The lines of a statement, of a compound one those before its body; of a function those of its body."""
    if isinstance(statement, ast.FunctionDef):
        return range(statement.body[0].lineno, statement.body[-1].end_lineno + 1)  # type: ignore[operator]
    if isinstance(statement, ast.match_case):
        return range(statement.pattern.lineno, statement.body[0].lineno + 1)
    first, last = statement.lineno, statement.end_lineno
    inner = getattr(statement, "body", None) or [case.pattern for case in getattr(statement, "cases", ())]
    return range(first, max(first + 1, inner[0].lineno) if inner else last + 1)


def _head(node: Any) -> str:
    """A statement in one line, without the statements in it."""
    if isinstance(node, ast.match_case):
        return f"case {ast.unparse(node.pattern)}" + (f" if {ast.unparse(node.guard)}" if node.guard else "")
    head = copy(node)
    for field in ("body", "orelse", "finalbody", "cases", "handlers"):
        if isinstance(getattr(node, field, None), list):
            is_empty = isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Pass)
            setattr(head, field, [ast.Pass() if is_empty else ast.Expr(ast.Constant(...))] if field == "body" else [])
    return " ".join(ast.unparse(head).split())


def _copy(node: ast.AST, **fields: Any) -> ast.AST:
    new = copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _changed(node: Any) -> Iterator[ast.AST]:  # noqa: PLR0912 # a table
    """Yield what a node may become."""
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield _copy(node, ops=[*ops[:index], _OPPOSITE[type(op)](), *ops[index + 1 :]])
        case ast.BoolOp(op=op, values=values):
            yield _copy(node, op=_OPPOSITE[type(op)]())
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else _copy(node, values=rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(op=op) if type(op) in _OPPOSITE:
            yield _copy(node, op=_OPPOSITE[type(op)]())
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(value + step) for step in (1, -1) if value + step >= 0)
        case ast.IfExp(body=body, orelse=orelse):
            yield _copy(node, body=orelse, orelse=body)
        case ast.Call(func=ast.Name(id=name)) if name in _OTHER_NAME:
            yield _copy(node, func=ast.Name(_OTHER_NAME[name], ast.Load()))
        case ast.keyword(value=value) if not isinstance(value, ast.Constant):
            yield _copy(node, value=ast.Constant(None))
        case ast.comprehension(ifs=[_, *_]):
            yield from (_copy(node, ifs=[one for one in node.ifs if one is not gone]) for gone in node.ifs)
        case ast.stmt() | ast.match_case():
            yield from _changed_statement(node)


def _changed_statement(node: Any) -> Iterator[ast.AST]:
    if type(node) in _OPPOSITE:
        yield _OPPOSITE[type(node)]()
    match node:
        case ast.If(orelse=orelse):
            yield _copy(node, test=ast.Constant(False))
            if orelse:
                yield _copy(node, test=ast.Constant(True))
        case ast.match_case(guard=None):
            yield _copy(node, guard=ast.Constant(False))
        case ast.FunctionDef(body=body) if not (len(body) == 1 and isinstance(body[0], ast.Expr)):
            is_generator = any(isinstance(below, ast.Yield | ast.YieldFrom) for below in ast.walk(node))
            nothing: list[ast.stmt] = [ast.Return()]
            if is_generator:
                nothing.append(ast.Expr(ast.Yield()))
            yield _copy(node, body=[*nothing, ast.Pass()])
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.Return(value=None):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass()
        case _ if isinstance(node, _REMOVED):
            yield ast.Pass()
