"""Empty values, usually a script's unset variables: each command refuses them before it acts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jobqueued.__main__ import main as daemon
from jobqueued.ctl.main import main


def command_lines() -> Iterator[tuple[str, ...]]:
    """Each option of each command, and each argument alone, with an empty value."""
    for name, command in [("", main), *main.commands.items()]:
        for it in command.params:
            if it.type is click.UNPROCESSED:
                continue
            if isinstance(it, click.Argument):
                yield name, ""
            elif isinstance(it, click.Option) and not (it.is_flag or it.count):
                yield from ((*filter(None, [name]), option, *[""] * it.nargs) for option in it.opts)


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_an_empty_value_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    """No option and no argument takes an empty value for none."""
    shown = CliRunner().invoke(main, [*words] if "--root" in words else ["--root", str(tmp_path), *words])
    assert (2, True) == (shown.exit_code, "is empty, perhaps because a variable is unset" in shown.output)


def test_the_words_of_a_command_may_be_empty(tmp_path: Path) -> None:
    """They belong to the command, and an option behind them does, too."""
    for words in (("submit", "echo", "", "--at", ""), ("with-lock", "db", "--", "echo", "")):
        shown = CliRunner().invoke(main, ["--root", str(tmp_path), *words])
        assert "cannot reach the daemon" in shown.output


def test_an_empty_name_of_a_crontab_is_a_name() -> None:
    """No user has this name; the message is crontab(1)'s."""
    shown = CliRunner().invoke(main, ["crontab", "-u", "", "-l"])
    assert (1, "crontab:  user `' unknown\n") == (shown.exit_code, shown.output)


@pytest.mark.parametrize("option", ["root", "config", "jobs", "state", "run", "logs", "journal", "launcher"])
def test_the_daemon_refuses_an_empty_path(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not take the working directory for it."""
    with pytest.raises(SystemExit) as ended:
        daemon([f"--{option}", ""])
    assert (2, True) == (ended.value.code, "found an empty path" in capsys.readouterr().err)
