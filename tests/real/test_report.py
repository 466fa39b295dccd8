"""jobqueuectl report: what a person is told of a day, as text, as a page, as a mail."""

from __future__ import annotations

import email
import email.policy
import json
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from jobqueued.model import DAY, HOUR, SECOND, Record, to_text
from tests.support.answers import NASTY, STATUS, Daemon
from tests.support.client import harmful, run
from tests.support.host import Host, wait_for
from tests.support.records import NOW, a_record, write

END = NOW - 90_000_000 * SECOND
DAY_BEFORE = ("report", "--since", to_text(END - DAY), "--until", to_text(END))


def ago(
    hours: float, number: int, state: str = "succeeded", job: str = "job", took: float = 2, **fields: Any
) -> Record:
    """A record of a run that was queued so many hours before the end of the day, and took so many seconds."""
    begin = END - round(hours * HOUR)
    document = a_record(number, state, job)
    start = begin + round(fields.pop("waits", 0) * SECOND)
    times = {"due": begin, "queued": begin, "started": start, "ended": start + round(took * SECOND)}
    told = {name: to_text(instant) for name, instant in times.items() if document[name]}  # type: ignore[literal-required]
    return {**document, **told, **fields}  # type: ignore[typeddict-item]


def tail(text: str) -> dict[str, Any]:
    return {"file": None, "bytes": len(text), "dropped": 0, "tail": text, "journal": None}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "logs" / "job").mkdir(parents=True)
    (tmp_path / "logs" / "slow").mkdir(parents=True)
    return tmp_path


class TestWhatIsTold:
    def test_a_good_day(self, root: Path) -> None:
        """Where nothing is wrong one line says so."""
        write(root / "logs", *(ago(hours, hours) for hours in range(1, 5)))
        shown = run("--root", root, *DAY_BEFORE)
        assert (0, 1) == (shown.returncode, len(shown.stdout.splitlines()))
        assert shown.stdout.endswith(": all is well: 4 runs of 1 job succeeded\n")

    def test_a_day_without_runs(self, root: Path) -> None:
        """A day on which nothing ran is one line, too."""
        write(root / "logs", ago(100, 1))
        assert run("--root", root, *DAY_BEFORE).stdout.endswith(": all is well: nothing ran\n")

    def test_a_bad_day(self, root: Path) -> None:
        """Failures are told with reason and last line, skips with theirs, and what is worse, and what it cost."""
        (attempt,) = a_record(1)["attempts"]
        used = [{**attempt, "cpu_user": 7200.0, "cpu_system": 0.0}]
        write(
            root / "logs",
            *(ago(30 + number, number, job="slow", took=10) for number in range(1, 5)),
            *(ago(10 - number, number, job="slow", took=100, attempts=used) for number in range(5, 9)),
            ago(3, 1, "failed", reason="exit code 3", output=tail("first\nno space left\n\n")),
            ago(2, 2, "skipped", reason="missed", count=4), ago(1, 3, "skipped", reason="paused"),
            ago(1, 4, waits=120, waited_for=["db"]),
        )  # fmt: skip
        shown = run("--root", root, *DAY_BEFORE)
        first, *lines = shown.stdout.splitlines()
        assert f"{first} {lines[0]}".endswith("1 failed, 4 did not run, 1 became worse; 6 runs of 2 jobs")
        assert [] == [line for line in (first, *lines) if len(line) > 80]
        heads = [line for line in lines if line and line[0] != " "][1:]
        expected = ["Failed", "Did not run", "Worse than before", "Skipped on purpose", "Longest waits", "CPU hours"]
        assert expected == heads
        words = " ".join(" ".join(lines).split())
        for told in (
            "failed after 2 s: exit code 3", "last output: no space left", "missed", "job@4 2 min for db",
            "slow took 1 min 40 s (P50), 10 s in the time before", "slow 8.00 4 runs",
        ):  # fmt: skip
            assert told in words

    def test_a_period(self, root: Path) -> None:
        """Only what was queued in the period counts."""
        write(root / "logs", ago(5, 1, "failed"), ago(50, 2, "failed"))
        since, until = (to_text(END - days * DAY) for days in (3, 1))
        told = json.loads(run("--root", root, "report", "--since", since, "--until", until, "--json").stdout)
        (failed,) = [part for part in told["parts"] if part["title"] == "Failed"]
        assert (["job@2"], False) == ([row["cells"][0] for row in failed["rows"]], told["is_well"])

    def test_many_failures(self, root: Path) -> None:
        """Of each job the newest are named, and the others counted."""
        write(root / "logs", *(ago(1 + number / 100, 100 - number, "failed") for number in range(20)))
        words = run("--root", root, *DAY_BEFORE).stdout
        assert words.count("job@") == 3
        assert "… and 17 more of job" in words

    def test_many_that_became_worse(self, root: Path) -> None:
        """All are counted, also those that are left out."""
        for job in (f"slow{number}" for number in range(51)):
            (root / "logs" / job).mkdir()
            before = (ago(30 - number, number, job=job) for number in range(1, 4))
            write(root / "logs", *before, *(ago(10 - number, number, job=job, took=100) for number in range(4, 7)))
        told = run("--root", root, *DAY_BEFORE).stdout
        assert (True, True) == (": 51 became worse;" in told, "  and 1 more\n" in told)


class TestWhatHasExpired:
    """A period of which records are missing is not said to be well."""

    def test_older_ones(self, root: Path) -> None:
        """Of a job that had a hundred runs since, nobody knows what was before; its records begin at an instant."""
        write(root / "logs", *(ago(number / 20, 131 - number) for number in range(1, 101)))
        told = run("--root", root, *DAY_BEFORE).stdout
        assert ": records are missing; 100 runs of 1 job succeeded" in " ".join(told.split())
        assert f"job  only since {ago(5, 31)['queued'][:16].replace('T', ' ')}" in told

    def test_runs_without_the_skips_before(self, root: Path) -> None:
        """As many skips are kept as runs: a gap between them is told, too."""
        write(root / "logs", ago(60, 1, "skipped", reason="paused"), ago(3, 31), ago(2, 32))
        assert "records are missing" in run("--root", root, *DAY_BEFORE).stdout

    @pytest.mark.parametrize("before", [30, 60, 2000])
    def test_none(self, root: Path, before: int) -> None:
        """However long ago the run before was."""
        write(root / "logs", ago(before, 1), ago(3, 2), ago(2, 3))
        assert "all is well: 2 runs of 1 job succeeded" in run("--root", root, *DAY_BEFORE).stdout

    def test_none_by_the_daemon(self, tmp_path: Path) -> None:
        """One that was queued before, of whichever state, is not missing."""
        host = Host(tmp_path)
        try:
            host.write("a.yaml", "jobs: {a: {command: exit 0}}")
            host.start()
            for number in (1, 2):
                host.run("a")
                host.wait(f"a@{number}")
            begin = datetime.fromisoformat(host.wait("a@2")["queued"])
            until = begin + timedelta(microseconds=1)
            period = [f"{it:%Y-%m-%dT%H:%M:%S.%fZ}" for it in (begin, until)]
            told = run("--root", tmp_path, "report", "--since", period[0], "--until", period[1]).stdout
            assert "all is well: 1 run of 1 job succeeded" in told
        finally:
            host.stop()
            host.close()


class TestHowThingsStand:
    """Where the period lasts until now, nothing is said to be well that `status` says is not."""

    def test_the_host(self, tmp_path: Path) -> None:
        """A hold, a refused file, and a daemon that is down, are each told, and none is well."""
        host = Host(tmp_path)
        try:
            host.start()
            shown = run("--root", tmp_path, "report")
            assert "all is well: nothing ran" in shown.stdout, shown.stdout
            host.call("Hold")
            host.write("bad.yaml", "jobs: [")
            wait_for(lambda: host.call("Status")["problems"])
            first, *lines = run("--root", tmp_path, "report").stdout.splitlines()
            assert first.endswith(": 2 to look at now; nothing ran")
            assert "the host is on hold: nothing new starts" in " ".join(" ".join(lines).split())
            assert [line for line in lines if "bad.yaml" in line and "has errors" in line]
        finally:
            host.stop()
            host.close()
        (tmp_path / "logs" / "job").mkdir()
        write(tmp_path / "logs", ago(100, 1))
        told = run("--root", tmp_path, "report").stdout
        assert ": 1 to look at now; nothing ran" in told
        assert "jobqueued  down  cannot reach the daemon" in " ".join(told.split("\n"))

    def test_many_jobs(self, tmp_path: Path) -> None:
        """All are counted, whether they are named in the answer, and here, or not."""
        daemon = Daemon(tmp_path / "run")
        kinds = [*("failing" for _ in range(100)), "paused"]
        one = {"run": None, "since": None, "until": None, "reason": None}
        attention = [{**one, "kind": kind, "job": f"job{number}"} for number, kind in enumerate(kinds)]
        daemon.methods["Status"] = lambda _: {**STATUS, "attention": attention, "failing": 130, "paused": 1}
        daemon.methods["History"] = lambda _: {"runs": [], "next": None}
        told = run("--root", tmp_path, "report").stdout
        assert (True, True) == (": 130 to look at now; nothing ran" in told, "  and 80 more\n" in told)


class _Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text = set[str](), ""
        self.outside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.outside += [name for name, _ in attrs if name in ("src", "href", "onload", "onclick")]

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = f"<script>alert(1)</script><img src=x onload=y>{NASTY}"


def test_hostile_words(root: Path) -> None:
    """No word of a record is an element of the page, reaches the terminal as it is, or loads anything."""
    write(root / "logs", ago(1, 1, "failed", reason=HOSTILE, output=tail(HOSTILE * 500), host=HOSTILE))
    assert not harmful(run("--root", root, *DAY_BEFORE).stdout)
    text = run("--root", root, *DAY_BEFORE, "--html").stdout
    page = _Page(text)
    assert (set(), [], set()) == (page.tags & {"script", "img", "link", "iframe"}, page.outside, harmful(text))
    assert "<script>alert(1)</script>" in page.text
    assert "default-src 'none'" in text


class TestMail:
    @pytest.fixture
    def sendmail(self, root: Path) -> Path:
        """A program that keeps what it is given, and its words."""
        (root / "jobqueued.yaml").write_text(f"mail: {{sendmail: {root}/sendmail, from: cron@example.org}}\n")
        (root / "sendmail").write_text(f'#!/bin/sh\necho "$@" >{root}/words\ncat >{root}/mail\n')
        (root / "sendmail").chmod(0o755)
        write(root / "logs", ago(1, 1, "failed", reason="exit code 3"))
        return root / "mail"

    def test_mail(self, root: Path, sendmail: Path) -> None:
        """The text goes to the address by the settings of mails, with a subject that says how it stands."""
        shown = run("--root", root, *DAY_BEFORE, "--mail", "ops@example.org")
        assert (0, "") == (shown.returncode, shown.stdout), shown.stderr
        mail = email.message_from_bytes(sendmail.read_bytes(), policy=email.policy.default)
        assert "-i -f cron@example.org -- ops@example.org" == (root / "words").read_text().strip()
        assert "report: 1 failed; 1 run of 1 job" in mail["Subject"]
        assert ("text/plain", "auto-generated") == (mail.get_content_type(), mail["Auto-Submitted"])
        assert "exit code 3" in mail.get_content()

    def test_with_a_page(self, root: Path, sendmail: Path) -> None:
        """With --html the page is an alternative to the text."""
        run("--root", root, *DAY_BEFORE, "--html", "--mail", "ops@example.org")
        mail = email.message_from_bytes(sendmail.read_bytes(), policy=email.policy.default)
        assert ["text/plain", "text/html"] == [part.get_content_type() for part in mail.iter_parts()]
        assert "<h2" in mail.get_body(("html",)).get_content()

    @pytest.mark.usefixtures("sendmail")
    def test_not_sent(self, root: Path) -> None:
        """A mail that can't be sent is an error with its cause."""
        (root / "sendmail").write_text("#!/bin/sh\necho full >&2\nexit 75\n")
        shown = run("--root", root, *DAY_BEFORE, "--mail", "ops@example.org")
        assert (2, True) == (shown.returncode, "exit code 75: full" in shown.stderr), shown.stderr
        shown = run("--root", root, *DAY_BEFORE, "--mail", "two words")
        assert (2, True) == (shown.returncode, "accepted: one address" in shown.stderr), shown.stderr
