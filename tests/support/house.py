"""The package as a tree of syntax, for tests that hold its order."""

from __future__ import annotations

import ast
from functools import cache

from tests.support import REPO

PACKAGE = REPO / "jobqueued"


@cache
def files() -> list[str]:
    """Every file of the package, as HOUSE names them."""
    return sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py"))


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((PACKAGE / f"{name}.py").read_text())


@cache
def nodes_of(name: str) -> tuple[ast.AST, ...]:
    """All nodes of a file's syntax tree, in the order of `ast.walk`."""
    return tuple(ast.walk(tree(name)))


@cache
def imports(name: str) -> frozenset[str]:
    """Everything that a file imports, wherever in it, as full names: ``jobqueued.model.job``, ``os``."""
    found = set[str]()
    for node in nodes_of(name):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in names if (PACKAGE.parent / f"{name.replace('.', '/')}.py").exists()}
            found |= modules or {str(node.module)}
    return frozenset(found)
