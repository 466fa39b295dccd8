"""The size budget: no file over 400 lines, no function over 60. Docstrings and tables of a file count for neither.

python tests/support/budget.py        prints what is over, and exits 1 if anything is
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 400, 60
TABLE_LINES = 5
"""A top-level assignment of at least so many lines is a table."""

PACKAGE = Path(__file__).resolve().parents[2] / "jobqueued"


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
    return found


if __name__ == "__main__":
    problems = [problem for path in sorted(PACKAGE.rglob("*.py")) for problem in over(path)]
    print("\n".join(problems) or "size budget: kept")
    sys.exit(bool(problems))
