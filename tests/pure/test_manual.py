"""The manual's lines: sentences, and what is code in them, as mdoc(7) has them."""

from __future__ import annotations

import pytest

from man.markdown import section
from man.mdoc import inline, prose, usage


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Run it. Then wait.", ["Run it.", "Then wait."]),
        ("At most 1 MiB. Drop-ins count.", ["At most 1 MiB.", "Drop\\-ins count."]),
        ("A text is passed to `shell` -c.", ["A text is passed to", ".Cm shell", ".Fl c ."]),
        (
            "What it waits for (`jobqueuectl why`), and who.",
            ["What it waits for", ".Pf ( Ic jobqueuectl why ) ,", "and who."],
        ),
        ("See `--all`, cron(8) and `/etc/x.d`.", ["See", ".Fl \\-all ,", ".Xr cron 8", "and", ".Pa /etc/x.d ."]),
        ("the `job`'s", ["the", ".Cm job Ns 's"]),
        ("`No` is a macro, `jobs: {}` is none", [".Cm \\&No", "is a macro,", ".Cm jobs: {}", "is none"]),
        (".profile is read", ["\\&.profile is read"]),
        (
            "`jq '.x ^ y'` of docs/queue.md",
            [".Cm jq \\(aq.x \\(ha y\\(aq", "of", ".Pa /usr/share/doc/jobqueued/queue.md"],
        ),
    ],
)
def test_a_text(text: str, lines: list[str]) -> None:
    """A sentence a line; code is in a macro, with the punctuation that belongs to it; nothing else is one."""
    assert lines == list(prose(text))


def test_a_form() -> None:
    """What may be left out is in brackets, what may come again has dots."""
    assert ["Oo Ar JOB ... Oc", "Ar RUN|JOB ...", "Fl \\-"] == [
        usage(word) for word in ("[JOB]...", "RUN|JOB...", "--")
    ]


def test_a_cell() -> None:
    """There code is in bold, as a table takes no macros."""
    assert "in \\fB/var/log\\fR" == inline("in `/var/log`")


def test_a_section() -> None:
    """Paragraphs, a display, a list and a table, with the links as paths; the next section is not in it."""
    paper = "## A\n\nOf [limits.md](limits.md):\n\n    a ─ b\n\n- **One**\n\n| x | y |\n|---|---|\n| `1` | |\n\n## B\n"
    cells = ["T{\nx\nT}|T{\ny\nT}", "T{\n\\fB1\\fR\nT}|"]
    assert [
        "Of", ".Pa /usr/share/doc/jobqueued/limits.md :", ".Bd -literal", "a ─ b", ".Ed",
        ".Bl -bullet -width Ds", ".It", "One", ".El",
        ".Pp", ".na", ".TS", "allbox tab(|);", "lB lB", "lw(3n) lw(1n).", *cells, ".TE", ".ad",
    ] == list(section(paper, "A"))  # fmt: skip
