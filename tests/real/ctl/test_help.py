"""Help and completion of jobqueuectl."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueued import __version__
from jobqueued.ctl.main import main
from tests.support.client import environment, run


class TestHelp:
    def test_version(self) -> None:
        """--version is the package's."""
        assert f"jobqueuectl {__version__}\n" == run("--version").stdout

    @pytest.mark.parametrize("command", [[], *([name] for name in sorted(main.commands))], ids=str)
    def test_help(self, command: list[str]) -> None:
        """-h and --help are the same, of each command."""
        short, long = run(*command, "-h"), run(*command, "--help")
        assert (0, short.stdout) == (short.returncode, long.stdout)
        assert not command or re.search(f"\n  Examples?:\n    jobqueuectl {command[0]}\\b", short.stdout)

    def test_summaries(self) -> None:
        """The list of commands, which is made without importing any, has the first sentence of each one's help."""
        listed = run("--help").stdout.partition("See what runs:\n")[2].partition("\n  Exit status:")[0].splitlines()
        listed = sorted(line for line in listed if line.startswith("  "))
        helps = {name: command.get_short_help_str(200) for name, command in main.commands.items()}
        assert sorted(helps.items()) == [tuple(line.strip().split(maxsplit=1)) for line in listed]

    @pytest.mark.parametrize(
        ("words", "meant"),
        [("kill", "stop"), ("help", "--help"), ("status backup", "show backup"), ("queue", "list")],
    )
    def test_what_was_meant(self, words: str, meant: str) -> None:
        """A word that other programs have for it is answered with ours, and so is a status of one job."""
        shown = run(*words.split())
        assert (2, True) == (shown.returncode, shown.stderr.endswith(f": jobqueuectl {meant}\n"))

    @pytest.mark.parametrize("arguments", [["frob"], ["show"], ["show", "a@b"], ["list", "--frob"], ["run"]], ids=str)
    def test_usage(self, arguments: list[str]) -> None:
        """Wrong usage is exit status 2 and a sentence, never a traceback."""
        shown = run(*arguments)
        assert (2, "", False) == (shown.returncode, shown.stdout, "Traceback" in shown.stderr)


def completed(root: Path, line: str, does: str = "from jobqueued.ctl.main import main; sys.exit(main())") -> list[str]:
    """What bash offers for a line by the completion that is installed, where the program `does` that."""
    script = Path(__file__).parents[3] / "completion" / "jobqueuectl.bash"
    ask_bash = f'. {script}; COMP_LINE=$1 COMP_POINT=${{#1}}; _jobqueuectl "$2"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    program = root / "jobqueuectl"
    program.write_text(f"#!{sys.executable}\nimport sys\n{does}\n")
    program.chmod(0o755)
    words = ["bash", "-c", ask_bash, "-", line, str(program)]
    done = subprocess.run(words, env=environment(JOBQUEUE_ROOT=str(root)), capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.usefixtures("daemon")
def test_completion(tmp_path: Path) -> None:
    """The Tab key offers commands, ids of jobs, and runs behind an @, which ends a word for bash."""
    assert ["pause"] == completed(tmp_path, "jobqueuectl pau")
    assert ["nightly-backup"] == completed(tmp_path, "jobqueuectl pause ni")
    assert ["nightly-backup", "x"] == completed(tmp_path, "jobqueuectl show ")
    assert ["143", "142"] == completed(tmp_path, "jobqueuectl show nightly-backup@14")
    assert [["nightly"]] * 2 == [completed(tmp_path, f"jobqueuectl {it} --tag ") for it in ("pause", "history")]
    assert [] == completed(tmp_path / "run", "jobqueuectl show ni")
    assert [] == completed(tmp_path, "jobqueuectl --user show ni"), "there is no such instance, and no traceback"
    assert ["--user"] == completed(tmp_path, "jobqueuectl --us")


def test_completion_of_a_job_with_a_colon(tmp_path: Path) -> None:
    """Jobs of crontabs have one in their name, which ends a word for bash, too."""
    names = 'print("plain,cron.d/munin:cron-1f"); print("plain,cron.d/munin:cron-1f@12")'
    assert ["cron.d/munin:cron-1f", "cron.d/munin:cron-1f@12"] == completed(tmp_path, "jobqueuectl show cron", names)
    assert ["cron-1f", "cron-1f@12"] == completed(tmp_path, "jobqueuectl show cron.d/munin:c", names)
