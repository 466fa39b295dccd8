"""The size budget: no file over 400 lines, no function over 60. Docstrings and tables of a file count for neither.

No constructor has over 7 parameters, and the composition root has at most 25 imports.

python tests/support/budget.py        prints what is over, and exits 1 if anything is
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_LINES, FUNCTION_LINES, PARAMETERS, IMPORTS_OF_ROOT = 400, 60, 7, 25
TABLE_LINES = 5
"""A top-level assignment of at least so many lines is a table."""

PACKAGE = Path(__file__).resolve().parents[2] / "jobqueued"
ROOT = PACKAGE / "daemon" / "daemon.py"


def lines_of(node: ast.stmt) -> int:
    """How many lines a statement takes."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def of_docstrings(tree: ast.AST) -> int:
    """How many lines the docstrings below a node take, also those of attributes."""
    return sum(
        lines_of(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def over(path: Path) -> list[str]:
    """What in a file is over the budget."""
    text = path.read_text()
    tree = ast.parse(text)
    tables = [lines_of(node) for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    size = text.count("\n") - of_docstrings(tree) - sum(lines for lines in tables if lines >= TABLE_LINES)
    found = [f"{path}: {size} lines"] if size > FILE_LINES else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (lines := lines_of(node) - of_docstrings(node)) > FUNCTION_LINES:
            found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            own = node.args
            if (count := len([*own.posonlyargs, *own.args, *own.kwonlyargs]) - 1) > PARAMETERS:
                found.append(f"{path}:{node.lineno}: a constructor has {count} parameters")
    imported = sum(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)
    if path == ROOT and imported > IMPORTS_OF_ROOT:
        found.append(f"{path}: {imported} imports")
    return found


if __name__ == "__main__":
    problems = [problem for path in sorted(PACKAGE.rglob("*.py")) for problem in over(path)]
    print("\n".join(problems) or "size budget: kept")
    sys.exit(bool(problems))
