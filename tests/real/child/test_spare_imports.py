"""Imports of libraries without what they would load beside."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import REPO
from tests.support.host import DEADLINE

SPARING = "import sys; from jobqueued.host.spare_imports import spare_imports\nwith spare_imports(): "


def said(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=True
    ).stdout


@pytest.mark.parametrize("library", ["rich", "asyncio", "_hashlib"])
@pytest.mark.parametrize("before", [False, True])
def test_they_stay_out_and_are_not_hidden(library: str, before: bool) -> None:
    """What was there already is used; what was not is left out, and whoever imports it later gets the real one."""
    code = (
        f"import {library}\n" * before + SPARING + "import jobqueued.host.log, jobqueued.timing.cronexpr\n"
        f"print({library.partition('.')[0]!r} in sys.modules)\n"
        "import rich.console, asyncio, _hashlib\n"
        "print(asyncio.run, callable(_hashlib.openssl_sha256))"
    )
    first, second = said(code).splitlines()
    assert (str(before), True) == (first, second.endswith(" True"))


@pytest.mark.parametrize("before", ["", "import croniter, dateutil.tz\n"])
def test_croniter_is_expanded_with_only(before: str) -> None:
    """Without its walks through time, and without a process that tells the word size; others find all of it."""
    code = before + (
        "import sys\nran = []\nsys.addaudithook(lambda event, _: event == 'subprocess.Popen' and ran.append(event))\n"
        "there = {'dateutil', 'subprocess'} & {*sys.modules}\n"
        "from jobqueued.timing.cronexpr import pattern_of\n"
        "print(pattern_of('*/20 3 * * mon-fri') and not ran, {'dateutil', 'subprocess'} & {*sys.modules} == there)\n"
        "import platform; from croniter import croniter; from datetime import datetime\n"
        "print(croniter('5 0 1 1 *', datetime(2026, 1, 1)).get_next(datetime), platform.architecture()[0][-3:])"
    )
    first, second = said(code).splitlines()
    assert "True True" == first
    assert "2026-01-01 00:05:00 bit" == second


def test_what_they_do_is_the_same() -> None:
    """Fields are expanded, and hashes are those of any SHA-256."""
    imports, use = (
        "from jobqueued.timing.cronexpr import pattern_of; import hashlib\n",
        ("print(pattern_of('*/20 3 * * mon-fri'), hashlib.sha256(b'x').hexdigest())"),
    )
    assert said(imports + use) == said(SPARING + imports + use)


def test_what_was_left_out_is_said_where_it_is_called() -> None:
    """A use of what was not imported names it, instead of doing something else."""
    code = (
        "from jobqueued.timing.expansion import croniter\ntry: print(croniter('* * * * *').get_next())\n"
        "except NotImplementedError as error: print(error)"
    )
    assert "was not imported" in said(code)


def test_python_without_a_hash_of_its_own() -> None:
    """Where Python was built without one, OpenSSL's is loaded."""
    code = (
        "import sys, importlib.util, jobqueued.host.spare_imports as it\n"
        "it.find_spec = lambda name: None\nwith it.spare_imports(): import hashlib\nprint('_hashlib' in sys.modules)"
    )
    assert "True\n" == said(code)


TOLD = """
from pathlib import Path
from jobqueued.jobfile.reader import read_jobs
for file in sorted(Path("tests/bad").glob("*.yaml")):
    print(file, *read_jobs(file.read_bytes(), "f")[1], sep="\\n")
"""


def test_yaml_is_parsed_the_same_without_its_init() -> None:
    """libyaml's parser, alone, says of each bad file what it says where all of yaml is there."""
    assert said("import yaml" + TOLD) == said(TOLD)


@pytest.mark.parametrize("before", ["", "import yaml\n"])
def test_yaml_is_whole_for_others(before: str) -> None:
    """Of yaml only the parser is loaded; whoever imports it later gets all of it."""
    code = before + (
        "import sys\nthere = {'yaml', 'yaml.constructor'} & {*sys.modules}\n"
        "from jobqueued.jobfile.tree.yamlparser import PARSER\n"
        "print({'yaml', 'yaml.constructor'} & {*sys.modules} == there)\n"
        "import yaml\nprint(PARSER.__name__, yaml.load('{a: [1]}', yaml.CSafeLoader), yaml.safe_dump([2]))"
    )
    assert "True\nCParser {'a': [1]} - 2\n\n" == said(code)


def test_without_libyaml_the_parser_is_the_one_in_python() -> None:
    """PyYAML may have been built without it."""
    code = (
        "import sys\nsys.modules['yaml._yaml'] = None\nfrom jobqueued.jobfile.tree.yamlparser import PARSER\n"
        "print(PARSER.__name__, PARSER('{').get_event())"
    )
    assert "SafeLoader StreamStartEvent()\n" == said(code)
