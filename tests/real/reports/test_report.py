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

from jobqueued.base.instants import DAY, HOUR, SECOND, to_text
from jobqueued.child.contract.documents import Record
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


def told(root: Path, *period: str) -> str:
    """The words of the report, wherever a line of it ends."""
    return " ".join(run("--root", root, "report", *period).stdout.split())


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
        wide = run("--root", root, *DAY_BEFORE, COLUMNS="160").stdout.splitlines()
        assert (True, first + " " + lines[0]) == (80 < max(map(len, wide)) <= 160, wide[0])
        heads = [line for line in lines if line and line[0] != " "][1:]
        expected = ["Failed", "Did not run", "Worse than before", "Skipped on purpose", "Longest waits", "CPU hours"]
        assert expected == heads
        words = " ".join(" ".join(lines).split())
        for told in (
            "failed after 2 s: exit code 3", "last output: no space left", "missed", "job@4 2 min for db",
            "slow took 1 min 40 s (P50), 10 s in the period before", "slow 8.00 4 runs",
        ):  # fmt: skip
            assert told in words

    def test_a_period(self, root: Path) -> None:
        """Only what was queued in the period counts."""
        write(root / "logs", ago(5, 1, "failed"), ago(50, 2, "failed"))
        since, until = (to_text(END - days * DAY) for days in (3, 1))
        told = json.loads(run("--root", root, "report", "--since", since, "--until", until, "--json").stdout)
        (failed,) = [part for part in told["parts"] if part["kind"] == "failed"]
        assert (["job@2"], False) == ([row["run"] for row in failed["rows"]], told["is_well"])

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
        words = told(root, *DAY_BEFORE[1:])
        assert (True, True) == (": 51 became worse;" in words, " and 1 more" in words)


class TestForPrograms:
    """What is in the text, with instants in UTC, seconds, and null: no word is to be parsed."""

    def test_values(self, root: Path) -> None:
        """Of each part."""
        (attempt,) = a_record(1)["attempts"]
        used = [{**attempt, "cpu_user": 7.0, "cpu_system": 0.5}]
        slow = [ago(30 - number, number, job="slow", took=10) for number in range(1, 4)]
        slow += [ago(10 - number, number, job="slow", took=100) for number in range(4, 7)]
        worst = ago(3, 1, "failed", took=11.4, reason="exit code 7", output=tail("full\n"), attempts=used)
        gone, waited = ago(2, 2, "skipped", reason="missed", count=4), ago(1, 3, waits=120, waited_for=["db"])
        write(root / "logs", *slow, worst, gone, waited, ago(1, 4, "skipped", reason="paused"))
        made = json.loads(run("--root", root, *DAY_BEFORE, "--json", TZ="Europe/Berlin").stdout)
        assert (to_text(END - DAY), to_text(END)) == (made["since"], made["until"])
        parts = {it["kind"]: it for it in made["parts"]}
        assert ["failed", "not_run", "worse", "on_purpose", "waits", "cpu"] == list(parts)
        assert (False, 1, None) == tuple(parts["waits"][name] for name in ("is_wrong", "count", "total"))
        assert 7.5 == parts["cpu"]["total"]
        (failed,), (skip,), (worse,), (wait,), (cost,) = (
            parts[kind]["rows"] for kind in ("failed", "not_run", "worse", "waits", "cpu")
        )
        assert failed == {
            "job": "job", "run": "job@1", "state": "failed", "reason": "exit code 7", "started": worst["started"],
            "ended": worst["ended"], "took": 11.4, "last_output": "full", "failed_of_job": 1,
        }  # fmt: skip
        assert skip == {"job": "job", "reason": "missed", "times": 4, "last_due": gone["last_due"]}
        assert worse == {"job": "slow", "what": "p50", "now": 100.0, "before": 10.0}
        assert wait == {"job": "job", "run": "job@3", "waited": 120.0, "waited_for": ["db"]}
        assert cost == {"job": "job", "cpu_seconds": 7.5, "runs": 2}

    def test_zones(self, root: Path) -> None:
        """For people, times are local, and name their zone."""
        write(root / "logs", ago(1, 1, "failed", reason="exit code 3"))
        words = run("--root", root, *DAY_BEFORE, TZ="Europe/Berlin").stdout
        assert (3, 0) == (words.count(" CET"), words.count("UTC"))


class TestWhatHasExpired:
    """A period of which records are missing is not said to be well."""

    def test_older_ones(self, root: Path) -> None:
        """Of a job that had a hundred runs since, nobody knows what was before; its records begin at an instant."""
        write(root / "logs", *(ago(number / 20, 131 - number) for number in range(1, 101)))
        words = told(root, *DAY_BEFORE[1:])
        assert ": records are missing; 100 runs of 1 job succeeded" in words
        assert f"job only since {ago(5, 31)['queued'][:16].replace('T', ' ')} UTC" in words

    def test_runs_without_the_skips_before(self, root: Path) -> None:
        """As many skips are kept as runs: a gap between them is told, too."""
        write(root / "logs", ago(60, 1, "skipped", reason="paused"), ago(3, 31), ago(2, 32))
        assert "records are missing" in told(root, *DAY_BEFORE[1:])

    @pytest.mark.parametrize("before", [30, 60, 2000])
    def test_none(self, root: Path, before: int) -> None:
        """However long ago the run before was."""
        write(root / "logs", ago(before, 1), ago(3, 2), ago(2, 3))
        assert "all is well: 2 runs of 1 job succeeded" in told(root, *DAY_BEFORE[1:])

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
            words = told(tmp_path, "--since", period[0], "--until", period[1])
            assert "all is well: 1 run of 1 job succeeded" in words
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
            assert "all is well: nothing ran" in told(tmp_path)
            host.call("Hold")
            host.write("bad.yaml", "jobs: [")
            wait_for(lambda: host.call("Status")["problems"])
            assert ": 2 to look at now; nothing ran Now " in told(tmp_path)
            assert "not well the host is on hold: nothing new starts" in told(tmp_path)
            assert "bad.yaml has errors" in told(tmp_path)
        finally:
            host.stop()
            host.close()
        (tmp_path / "logs" / "job").mkdir()
        write(tmp_path / "logs", ago(100, 1))
        assert ": 1 to look at now; nothing ran" in told(tmp_path)
        assert "jobqueued down cannot reach the daemon" in told(tmp_path)
        now = json.loads(run("--root", tmp_path, "report", "--json").stdout)["parts"][0]
        assert ("now", "down", None) == (now["kind"], now["rows"][0]["kind"], now["rows"][0]["job"])

    def test_many_jobs(self, tmp_path: Path) -> None:
        """All are counted, whether they are named in the answer, and here, or not."""
        daemon = Daemon(tmp_path / "run")
        kinds = [*("failing" for _ in range(100)), "paused"]
        one = {"run": None, "since": None, "until": None, "reason": None}
        attention = [{**one, "kind": kind, "job": f"job{number}"} for number, kind in enumerate(kinds)]
        daemon.methods["Status"] = lambda _: {**STATUS, "attention": attention, "failing": 130, "paused": 1}
        daemon.methods["History"] = lambda _: {"runs": [], "next": None}
        assert ": 130 to look at now; nothing ran" in told(tmp_path)
        assert "and 80 more" in told(tmp_path)


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
        assert (2, True) == (shown.returncode, "expected one ASCII address" in shown.stderr), shown.stderr
