"""How the papers become pages: `make docs` writes build/html; a warning is an error."""

from __future__ import annotations

import re
from typing import Any

from pygments.lexers.special import TextLexer

from jobqueued import __version__

project = "jobqueued"
version = release = __version__
html_title = f"jobqueued {__version__}"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "alabaster"
html_theme_options = {"page_width": "70em", "sidebar_width": "15em", "show_powered_by": False}
smartquotes = False
html_copy_source = html_show_sourcelink = html_show_copyright = False
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
exclude_patterns = ["container", "metrics"]


def _as_rst(_app: Any, _kind: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """A docstring is a text with `code`, not RST: what RST takes for its own outside of code is escaped."""
    lines[:] = [_escaped(line) for line in lines]


def _escaped(line: str) -> str:
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for part in parts)


def setup(app: Any) -> None:
    """Register what is above."""
    app.connect("autodoc-process-docstring", _as_rst)
    app.add_lexer("mermaid", TextLexer)  # a plot, which a forge draws; here it is its figures
