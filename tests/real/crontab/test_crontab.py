"""crontab(1) beside Debian's: its options, texts and exit statuses, as programs parse them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from jobqueued.child.spool import spool, spool_orders
from jobqueued.child.spool.spool import PLACE
from jobqueued.ctl.crontab import crontab as program
from jobqueued.jobdir.kinds import SPOOL
from tests.support import REPO
from tests.support.client import run
from tests.support.crontabs import Calls, Told, crontab, editor, listening, spooled, terminal
from tests.support.users import ME, NEEDS_ROOT, OTHER

TABLE = "# mine\n* * * * * true\n"
USAGE = program._USAGE
NOT_RUN = "crontab: stored, but no program runs it: {}/jobqueued.yaml has no `cron: {{live: true}}`\n"


@pytest.fixture
def call(tmp_path: Path) -> Calls:
    (tmp_path / "jobqueued.yaml").write_text("cron: {live: true}\n")
    return partial(crontab, tmp_path)


def usage(told: str) -> Told:
    return Told(1, "", f"crontab: usage error: {told}\n{USAGE}")


def test_the_life_of_a_table(call: Calls, tmp_path: Path) -> None:
    """What is installed is listed byte for byte, replaced as a whole, and removed."""
    none = Told(1, "", f"no crontab for {ME.pw_name}\n")
    assert none == call("-l") == call("-r") == call("-ir")
    assert Told(0, "", "") == call("-", text=TABLE)
    assert Told(0, TABLE, "") == call("-l") == call("-u", ME.pw_name, "-l") == call("-ln")
    spool = tmp_path / PLACE
    assert (0o600, 0) == ((spool / ME.pw_name).stat().st_mode & 0o777, spool.stat().st_mode & 0o007)
    file = tmp_path / "file"
    file.write_text("@daily x\n# no newline")
    assert Told(0, "", "") == call(str(file))
    assert Told(0, "@daily x\n# no newline", "") == call("-l")
    assert f"# ({file} installed on " in call("-l", CRONTAB_NOHEADER="N").out.splitlines()[1]
    assert Told(0, "", "") == call(text=b"")  # without arguments: the standard input
    assert Told(0, "", "") == call("-l")
    assert (Told(0, "", ""), none) == (call("-r"), call("-l"))
    assert {} == spooled(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("61 * * * * x\n", '"-":1: bad minute: found `61`: write 0 to 59, a range `a-b`, or `*`; `/step` may follow'),
        ("# ok\n* * * *\n", '"-":2: bad day-of-week: found 4 of five fields; expected five fields and a command'),
        ("@foo x\n", '"-":1: bad time specifier: found @foo; expected @reboot @hourly @daily @midnight @weekly '),
        ("* * * * *\n", '"-":1: bad command: found no command; expected a command after the five fields'),
        ("# jobqueue: {user: root}\n@daily x\n", '"-":1: bad option: '),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dry", [False, True])
def test_a_table_with_an_error_is_not_installed(call: Calls, tmp_path: Path, text: str, told: str, dry: bool) -> None:
    """The error comes in Debian's words, and then in ours."""
    call("-", text=TABLE)
    status, out, err = call(*["-n"] * dry, "-", text=text)
    assert (1, "", "errors in crontab file, can't install.") == (status, out, err.splitlines()[-1])
    assert err.startswith(told), err
    assert {ME.pw_name: TABLE} == spooled(tmp_path)


def test_all_errors_are_told_at_once(call: Calls) -> None:
    """Debian's crontab stops at the first; here each has its line, and of very many there is an end."""
    text = "# jobqueue: {user: x}\n@daily y\n61 * * * * x\n# jobqueue: {nosuch: x}\n@daily y\n"
    assert ['"-":1', '"-":3', '"-":4'] == [line[:5] for line in call("-", text=text).err.splitlines()[:3]]
    lines = call("-", text="x\n" * 100).err.splitlines()
    assert ['"-":1', '"-":20'] == [lines[0][:5], lines[19][:6]]
    assert ["and 80 more", "errors in crontab file, can't install."] == lines[20:]


def test_half_a_line_is_not_installed(call: Calls) -> None:
    """The last one needs its newline; a comment does not."""
    told = "new crontab file is missing newline before EOF, can't install.\n"
    assert Told(1, "", told) == call("-", text="* * * * * true")
    assert 0 == call("-", text="# x").status


def test_a_line_that_cron_takes_and_never_runs_is_installed(call: Calls) -> None:
    """A program that changes another line still succeeds. The warning is printed outside a terminal, too."""
    for option in ((), ("-T",)):
        status, out, err = call(*option, "-", text="0 0 30 2 * never\n")
        assert (0, "", True) == (status, out, "this line is not run" in err)
    assert "MAILTO" in call("-", text="MAILTO=|id\n@daily x\n").err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"# x\n" * 10_001, "crontab is too long; maximum number of lines is 10000."),
        (b"# " + b"x" * (1 << 20), "crontab is too long; expected at most 1023 KiB."),
        (b"@daily x\n" * 1001, '"-":1001: too many jobs; expected at most 1000 in a table'),
        (b"@daily " + b"x" * (1 << 17) + b"\n", '"-":1: command too long: '),
        (b"@daily a\0b\n", '"-":1: bad command: found a NUL'),
        (b"@daily \xe4\n", '"-":1: bad command: found 0xE4'),
    ],
)
def test_what_the_daemon_would_not_run_is_not_installed(call: Calls, text: bytes, told: str) -> None:
    """Each limit is said."""
    status, _, err = call("-", text=text)
    assert (1, True) == (status, err.startswith(told)), err[:500]


def test_a_dry_run_changes_nothing(call: Calls, tmp_path: Path) -> None:
    """-n as Debian's has it, -T as others do."""
    good = Told(0, "", "The syntax of the crontab file was successfully checked.\n")
    file = tmp_path / "file"
    file.write_text(TABLE)
    assert good == call("-n", str(file)) == call("-T", str(file)) == call("-n", "-", text=TABLE)
    assert {} == spooled(tmp_path)


def test_command_lines_that_make_no_sense(call: Calls, tmp_path: Path) -> None:
    """In the words of Debian's, whose getopt(3) takes options behind the file, too."""
    assert usage("only one operation permitted") == call("-e", "-l")
    assert usage("no arguments permitted after this option") == call("-l", "x")
    assert usage("file name must be specified for replace") == call("-i")
    assert call("-z").err.startswith("crontab: usage error: unrecognized option")
    assert call("-u").err.endswith(USAGE)
    assert Told(1, "", USAGE) == call("-h")
    assert Told(1, "", "nofile: No such file or directory\n") == call("nofile", "-u", ME.pw_name)
    assert Told(1, "", f"{tmp_path}: Not a regular file.\n") == call(str(tmp_path))
    os.mkfifo(tmp_path / "fifo")
    assert Told(1, "", f"{tmp_path}/fifo: Not a regular file.\n") == call(str(tmp_path / "fifo"))


@pytest.mark.parametrize("name", ["nosuch", "../x", "/etc/passwd", "a\nb", "", ".", "ä" * 300, "\udce4"])
def test_a_name_is_data(call: Calls, name: str) -> None:
    """Whatever it is, it is no user, and no path."""
    status, out, err = call("-u", name, "-l")
    assert (1, "") == (status, out)
    assert err.startswith("crontab:  user `")
    assert err.endswith("' unknown\n")
    assert 1 == err.count("\n")


def test_a_user_that_is_gone(call: Calls, tmp_path: Path) -> None:
    """The table that is left of it is named, with what removes it."""
    spool = tmp_path / PLACE
    call("-", text=TABLE)
    (spool / "gone").write_text(TABLE)
    told = f"crontab:  user `gone' unknown\ncrontab: a table of this name still exists: rm {spool}/gone\n"
    assert Told(1, "", told) == call("-u", "gone", "-r")


@pytest.mark.parametrize(
    ("answers", "status", "asked", "stays"),
    [("y\n", 0, 0, False), ("n\n", 0, 0, True), ("x\nYes\n", 0, 1, False), ("", 1, 0, True), ("x\n", 1, 1, True)],
)
def test_who_is_asked_before_a_table_is_removed(
    call: Calls, tmp_path: Path, answers: str, status: int, asked: int, stays: bool
) -> None:
    """Debian's asks for ever if nobody answers; here that is a no, and no success."""
    call("-", text=TABLE)
    found = call("-i", "-r", text=answers)
    assert (status, f"crontab: really delete {ME.pw_name}'s crontab? (y/n) ") == (found.status, found.out.rstrip("\n"))
    assert asked == found.err.count("Please enter Y or N: ")
    assert stays == bool(spooled(tmp_path))


def test_where_nothing_runs_it_that_is_said_once(tmp_path: Path) -> None:
    """The table is stored all the same."""
    told = NOT_RUN.format(tmp_path)
    assert Told(0, "", told) == crontab(tmp_path, "-", text=TABLE)
    assert Told(0, TABLE, "") == crontab(tmp_path, "-l")


def test_at_a_terminal_the_next_starts_are_shown(call: Calls, tmp_path: Path) -> None:
    """Three of them, of all jobs; a program, whose stderr is a pipe, gets none."""
    (tmp_path / "jobqueued.yaml").write_text("cron: {live: true}\ntimezone: UTC\n")
    (tmp_path / "file").write_text("0 0 1 1 * new-year\n0 0 1 7 * July\n")
    with terminal(tmp_path, str(tmp_path / "file")) as screen:
        status, shown = screen.end()
    lines = shown.splitlines()
    assert (0, 3) == (status, len(lines))
    assert all(line.startswith("next: 20") and line.endswith((" UTC  new-year", " UTC  July")) for line in lines)
    assert sorted(lines) == lines
    assert "" == call(str(tmp_path / "file")).err


def test_a_table_that_only_boots_has_no_instant(tmp_path: Path) -> None:
    """It says so."""
    (tmp_path / "file").write_text("@reboot x\n")
    with terminal(tmp_path, "-n", str(tmp_path / "file")) as screen:
        assert (0, "next: at the next boot  x") == (screen.end()[0], screen.shown.splitlines()[-1])


def test_programs_call_it_as_they_call_crons(tmp_path: Path) -> None:
    """A here-document; a pipe from its own list, as Perl's Config::Crontab and many an installer have it; a file, and
    the list once more, as backintime does it; a user's table by -u from a file, as Ansible and python-crontab do it."""
    (tmp_path / "jobqueued.yaml").write_text("cron: {live: true}\n")
    (tmp_path / "crontab").write_text(
        f"#!{sys.executable}\nimport sys\nfrom jobqueued.ctl.crontab.crontab import main\n\nsys.exit(main())\n"
    )
    (tmp_path / "crontab").chmod(0o755)
    script = """set -e
crontab - <<END
1 1 * * * one
END
(crontab -l 2>/dev/null; echo '2 2 * * * two') | crontab -
crontab -l | grep -v one | crontab -
crontab -l >old && sed 's/$/ #Back In Time/' old >new && crontab new && crontab -l
me=$(id -un)
crontab -u $me -l >managed && printf '#Ansible: x\\n*/5 * * * * x\\n' >>managed && crontab -u $me managed
crontab -u $me -l; crontab -u $me -r
crontab -u $me -l 2>&1 || crontab -l >/dev/null 2>&1 || echo "status $?"
"""
    told = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(REPO),
             "JOBQUEUE_ROOT": str(tmp_path)},
    )  # fmt: skip
    one = "2 2 * * * two #Back In Time\n"
    listed = f"{one}{one}#Ansible: x\n*/5 * * * * x\nno crontab for {ME.pw_name}\nstatus 1\n"
    assert (0, listed, "") == (told.returncode, told.stdout, told.stderr)


# ── what syslog is told ──


def test_syslog_is_told_what_debians_crontab_tells_it(call: Calls, tmp_path: Path) -> None:
    """In its words, its facility, and by its name; what was not done is not told."""
    with listening(tmp_path) as told:
        call("-l")
        call("-", text=TABLE)
        call("-l")
        call("-", text="bad\n")
        call("-e", EDITOR=editor(tmp_path, 'echo "@daily x" >>"$1"'))
        call("-e", EDITOR="false")
        call("-r")
        call("-r")
        lines = told()
    assert all(re.fullmatch(r"<78>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d crontab\[\d+\]: .*", line) for line in lines), (
        lines
    )
    me = f"({ME.pw_name})"
    acts = ["LIST", "REPLACE", "LIST", "BEGIN EDIT", "REPLACE", "END EDIT", "BEGIN EDIT", "DELETE"]
    assert [f"{me} {act} {me}" for act in acts] == [line.partition("]: ")[2] for line in lines]
    numbers = [line.partition("[")[2].partition("]")[0] for line in lines]
    assert 1 == len({*numbers[3:6]}) < len({*numbers[2:6]})  # an edit is one process


# ── of others ──


@NEEDS_ROOT
def test_root_sees_to_the_tables_of_others(call: Calls, tmp_path: Path) -> None:
    """Each is its user's own, for nobody else to read; the daemon would read it."""
    assert Told(0, "", "") == call("-u", OTHER, "-", text=TABLE)
    assert Told(0, TABLE, "") == call("-lu", OTHER)
    place = tmp_path / PLACE / OTHER
    assert (65534, 0o100600) == (place.stat().st_uid, place.stat().st_mode)
    assert TABLE in SPOOL.read(str(place), 0, True).decode()
    assert {OTHER: TABLE} == spooled(tmp_path)


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("lists", "may"),
    [
        ({}, True), ({"allow": "nobody\n"}, True), ({"allow": "root\n"}, False), ({"allow": ""}, False),
        ({"deny": "nobody\n"}, False), ({"deny": "root\n"}, True), ({"deny": ""}, True),
        ({"allow": "nobody\n", "deny": "nobody\n"}, True), ({"deny": " nobody\nnobody2\n"}, True),
    ],
)  # fmt: skip
def test_who_may_have_a_crontab(call: Calls, tmp_path: Path, lists: dict[str, str], may: bool) -> None:
    """cron.allow first, else cron.deny, else everybody; root always."""
    (tmp_path / "etc").mkdir()
    for name, text in lists.items():
        (tmp_path / "etc" / f"cron.{name}").write_text(text)
    refused = Told(1, "", f"The user {OTHER} cannot use this program (crontab)\n")
    expected = Told(1, "", f"no crontab for {OTHER}\n") if may else refused
    assert expected == call("-u", OTHER, "-l")
    assert 0 == call("-", text=TABLE).status


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("asker", "lists", "refused"), [(1, True, True), (1, False, False), (0, True, False)]
)  # fmt: skip
def test_who_may_add_jobs(tmp_path: Path, asker: int, lists: bool, refused: bool) -> None:
    """A user who may not have a crontab may not add job files, unless root does it or jobqueued.yaml names users."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/cron.deny").write_text("daemon\n")
    order = {
        "act": spool_orders.WHO, "host": str(tmp_path), "asker": asker, "user": "daemon", "allow": None, "deny": (),
        "lists": lists,
    }  # fmt: skip
    answer, _ = spool_orders._carried_out(order)
    assert answer.startswith("refused daemon is not allowed to use cron here" if refused else "done 1 daemon")


@NEEDS_ROOT
def test_a_list_that_the_group_crontab_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Debian's crontab, which runs with that group, it lets nobody but root have one; root reads it."""
    monkeypatch.setattr(spool, "_group", lambda: 4711)
    (tmp_path / "etc").mkdir()
    allow = tmp_path / "etc/cron.allow"
    allow.write_text("alice\n")
    for mode, group, may in ((0o600, 0, False), (0o640, 0, False), (0o640, 4711, True), (0o644, 0, True)):
        os.chown(allow, 0, group)
        allow.chmod(mode)
        assert (may, True) == (spool.allowed(str(tmp_path), "alice", 1500), spool.allowed(str(tmp_path), "alice", 0))
        assert not spool.allowed(str(tmp_path), "bob", 1500)
    monkeypatch.setattr(spool, "_group", lambda: None)  # no such group: the program is root's elsewhere
    allow.chmod(0o600)
    assert spool.allowed(str(tmp_path), "alice", 1500)


def test_no_user_is_no_directory(call: Calls) -> None:
    """Of a user without a name no table is told to be removed, least of all the directory of all tables."""
    for name in ("", ".", "..", "a/b"):
        assert Told(1, "", f"crontab:  user `{name}' unknown\n") == call("-u", name, "-l")


def test_a_program_lists_a_table(call: Calls, tmp_path: Path) -> None:
    """With --json it has the text byte for byte, and the jobs of it by the names that the daemon gives them."""

    def listed(*words: str) -> tuple[int, str, str]:
        done = run("--root", tmp_path, "crontab", *words)
        return done.returncode, done.stdout, done.stderr

    assert (1, "", f"Error: no crontab for {ME.pw_name}\n") == listed("-l", "--json")
    call("-", text=b"# \xff\n" + TABLE.encode() + b"@reboot x\n")
    status, out, _ = listed("--json", "-l")
    told = json.loads(out)
    assert (0, ME.pw_name) == (status, told["user"])
    assert b"# \xff\n# mine\n* * * * * true\n@reboot x\n" == told["text"].encode(errors="surrogateescape")
    assert [(3, True), (4, False)] == [(job["line"], job["next"] is not None) for job in told["jobs"]]
    assert all(job["id"].startswith(SPOOL.prefix) for job in told["jobs"])
    assert 2 == listed("-r", "--json")[0] == listed("--json", "file")[0]
    assert 0 == call("-l").status
