"""Commands and variables of units beside systemd itself, where it is installed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from jobqueued.exchange.unit_files import commands_of, read_unit, words_of
from tests.support.stranger import public
from tests.support.users import STRANGER

SYSTEMD = Path("/usr/lib/systemd/systemd")
UNIT = r"""[Service]
Type=oneshot
ExecStart=/bin/echo a\x41b "q\tr" 'c\x20d' ; -/bin/echo "x;y" \; z; w ';' a"b c"d \s|
ExecStart=/bin/echo \u0041 \101 '\'' "" x\q \\ "a\
  b" ;/bin/x ; :/bin/y x'y'"z" "it's" 'say "so"' \"
# between lines
ExecStart=/bin/echo one;two ; /bin/echo ;   /bin/echo three\
# within a line

ExecStart=/bin/echo a \\
ExecStart=/bin/echo "a \"b\" c" 'd\'e' \
   more
Environment="A=$HOME x" B=\x41 "C=a\"b" D='e f'g E=x"y z"w
Environment=F=1 'G=a\nb'
"""


def shown(word: str) -> str:
    """A word as systemd shows it, which is quoted where a shell would need that."""
    special = re.compile(r"""[\s"\\`$;|<>()&*?\[\]'!~#={}%]""")
    if not special.search(word) and word:
        return word
    escaped = re.sub(r'(["\\`$])', r"\\\1", word)
    return '"' + escaped.replace("\n", r"\n").replace("\t", r"\t") + '"'


@pytest.mark.skipif(not SYSTEMD.exists(), reason="systemd is not there")
def test_systemd_itself_reads_the_same() -> None:
    """Each command with its words, and each variable."""
    with public() as place:
        units, run = place / "systemd/user", place / "run"
        units.mkdir(parents=True)
        run.mkdir(mode=0o777)
        run.chmod(0o777)
        (units / "u.service").write_text(UNIT)
        (units / "x.target").write_text("[Unit]\nWants=u.service\n")
        other = {"user": STRANGER, "group": STRANGER, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(SYSTEMD), "--test", "--user", "--unit=x.target"], capture_output=True, text=True, check=False,
            env={"HOME": str(run), "XDG_CONFIG_HOME": str(place), "XDG_RUNTIME_DIR": str(run), "LC_ALL": "C.UTF-8"},
            timeout=60, **other,
        )  # fmt: skip
    of_unit = done.stdout.partition("→ Unit u.service:")[2].partition("→ Unit ")[0]
    if not of_unit:
        pytest.skip(f"systemd does not test units here: {done.stderr[-300:]}")
    (service,) = (unit["Service"] for unit in [read_unit(UNIT)])
    theirs = re.findall(r"Command Line: (.*)", of_unit)
    ours = [
        " ".join(map(shown, [words[0].lstrip("-:"), *words[1:]]))
        for line in service["ExecStart"] for words in commands_of(line)
    ]  # fmt: skip
    assert theirs == ours
    variables = re.findall(r"Environment: (.*(?:\n(?!\t).*)*)", of_unit)
    assert variables == [word for line in service["Environment"] for word in words_of(line)]
