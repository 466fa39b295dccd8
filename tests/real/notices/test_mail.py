"""Mails, as real servers and a program in the place of sendmail(8) get them."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.contract.text import size
from jobqueued.child.notifier.main import send
from tests.support.host import wait_for
from tests.support.notices import SUMMARY, an_event, document
from tests.support.receivers import CERTIFICATE, MailServer, mail_server, tls
from tests.support.records import a_record
from tests.support.users import NEEDS_USER

TO = "ops@example.org"


@pytest.fixture
def server() -> Iterator[tuple[MailServer, int]]:
    """A mail server that takes everything."""
    server = MailServer()
    with mail_server(server) as port:
        yield server, port


def mailed(port: int, event: dict[str, Any] | None = None, **settings: Any) -> str:
    """The verdict on a mail to a server."""
    return send(document("email", TO, event, smtp=f"smtp://127.0.0.1:{port}", **settings))


def the_mail(server: tuple[MailServer, int], event: dict[str, Any] | None = None, **settings: Any) -> EmailMessage:
    """The mail that arrives."""
    assert mailed(server[1], event, **settings) == "sent"
    [mail] = server[0].mails
    return mail


def text_of(mail: EmailMessage) -> str:
    """What a person reads."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def attached(mail: EmailMessage) -> list[bytes]:
    """The content of what is attached."""
    return [part.get_payload(decode=True) for part in mail.iter_attachments()]  # type: ignore[misc]


def hung_up(reading: int) -> bool:
    """True if nobody can write into a FIFO any more."""
    try:
        return os.read(reading, 1) == b""
    except BlockingIOError:
        return False


def with_output(path: Path, data: bytes) -> dict[str, Any]:
    """The failure of a run with this output."""
    path.write_bytes(data)
    event = an_event()
    event["record"]["output"] |= {"file": str(path), "bytes": len(data), "tail": "the tail\n"}
    return event


class TestMessage:
    """The mail."""

    def test_headers(self, server: tuple[MailServer, int]) -> None:
        """They are those of cron, with an identity that outlives tries."""
        mail = the_mail(server)
        known = {name: str(mail[name]) for name in ("From", "To", "Subject", "Date", "Auto-Submitted", "Precedence")}
        assert known == {
            "From": '"jobqueued (Cron Daemon)" <jobqueue@db1>',
            "To": TO,
            "Subject": f"Cron <root@db1> /usr/local/bin/backup --full: {SUMMARY}",
            "Date": "Thu, 26 Nov 2026 12:00:00 +0000",
            "Auto-Submitted": "auto-generated",
            "Precedence": "bulk",
        }
        assert mail.get_all("X-Cron-Env") == [
            "<LOGNAME=root>",
            "<JOBQUEUE_JOB=backup>",
            "<JOBQUEUE_RUN=backup@142>",
        ]
        assert ("failure", "n-142") == (mail["X-Jobqueued-Event"], mail["X-Jobqueued-Id"])
        [envelope] = server[0].envelopes
        assert ("jobqueue@db1", [TO]) == (envelope.mail_from, envelope.rcpt_tos)

    def test_output(self, server: tuple[MailServer, int], tmp_path: Path) -> None:
        """The mail of an output is cron's: the subject is the command, the text what was written, and no more.

        The subject of a failure ends as that of Debian's cron where it is told to log failures.
        """
        event = {**with_output(tmp_path / "1.log", b"caf\xc3\xa9\n\n1 file\n"), "event": "output", "incident": None}
        mail = the_mail(server, event)
        assert mail["Subject"] == "Cron <root@db1> /usr/local/bin/backup --full (failed)"
        assert (text_of(mail), attached(mail)) == ("café\n\n1 file\n", [])
        mailed(server[1], {**event, "record": {**event["record"], "state": "succeeded"}})
        assert server[0].mails[1]["Subject"] == "Cron <root@db1> /usr/local/bin/backup --full"

    @pytest.mark.parametrize("length", [101, 900, 10_000])
    def test_the_subject_of_a_long_command(self, server: tuple[MailServer, int], length: int) -> None:
        """It is cron's to the last character, over several lines; a command that no header holds is cut at its end."""
        command = f"x{'  é /srv/a' * length}"[:length]
        about = an_event(event="output", command=command)
        subject = the_mail(server, about)["Subject"]
        assert subject == f"Cron <root@db1> {command if length <= 900 else f'{command[:899]}…'} (failed)"
        assert max(map(len, server[0].envelopes[0].content.split(b"\r\n"))) <= 998

    def test_thread(self, server: tuple[MailServer, int]) -> None:
        """A second try is the same mail; what is about the same incident refers to the same, and to no mail itself."""
        assert ["sent"] * 3 == [mailed(server[1]), mailed(server[1]), mailed(server[1], an_event(incident=None))]
        first, again, other = server[0].mails
        assert first.as_bytes() == again.as_bytes()
        assert first["References"] == first["In-Reply-To"] != first["Message-ID"]
        assert (other["References"], other["Message-ID"]) == (None, first["Message-ID"])

    def test_a_job_of_at(self, server: tuple[MailServer, int]) -> None:
        """Its subject is that of at(1), to whose user it was handed in; others are told as of any job."""
        record = {**a_record(7, "succeeded", "alice/7"), "tags": ["at:a"]}
        for event in ("output", "success", "failure"):
            about = an_event(event=event, job="alice/7", run="alice/7@1", user="alice", record=record)
            for to in ("alice", TO):
                assert "sent" == send(document("email", to, about, smtp=f"smtp://127.0.0.1:{server[1]}"))
        *own, other = [mail["Subject"] for mail in server[0].mails]
        assert ["Output from your job        7"] * 5 == own
        assert other.startswith("Cron <alice@db1> ")

    def test_held_back_outputs(self, server: tuple[MailServer, int]) -> None:
        """Each has the end of what its run has written, and the command that prints all of it."""
        held = [
            {"event": "output", "run": f"sync@{number}", "summary": f"sync@{number} ended", "count": 1, "tail": tail}
            for number, tail in ((3, "three\n\x1b[2J\n"), (4, "four"))
        ]
        about = {"event": "digest", "summary": "2 outputs held back", "record": None, "incident": None, "run": None}
        text = text_of(the_mail(server, an_event(**about, held_back=held)))
        assert text.endswith(
            "Held back since the last notice:\nsync@3 ended\nsync@4 ended\n\n"
            "$ jobqueuectl logs sync@3\nthree\n\\x1b[2J\n\n$ jobqueuectl logs sync@4\nfour\n"
        )

    def test_text(self, server: tuple[MailServer, int]) -> None:
        """It has what, where, since when, what tells more, the output, and what was held back."""
        held = [
            {"event": "missed", "summary": "sync@3 was missed", "count": 7},
            {"event": "late", "summary": "x", "count": 1},
        ]
        assert (
            text_of(the_mail(server, an_event(held_back=held, not_shown=12)))
            == """backup@142 failed after 31 s: exit code 1

host      db1
at        2026-11-26T12:00:00Z
command   /usr/local/bin/backup --full
user      root
incident  since 2026-11-26T02:00:00Z, 5 times so far, first run backup@138

jobqueuectl show backup@142
jobqueuectl logs backup@142

The end of its output:

no space left

Held back since the last notice:
7 × sync@3 was missed
x
and 12 more
"""
        )

    def test_without_a_job(self, server: tuple[MailServer, int]) -> None:
        """A notice that is about no run at all is a mail too."""
        event = {
            "event": "degraded",
            "host": "db1",
            "at": "2026-11-26T12:00:00+00:00",
            "summary": "state.db: disk full",
        }
        mail = the_mail(server, event)
        assert mail["Subject"] == "Cron <jobqueue@db1> state.db: disk full"
        assert "jobqueuectl status" in text_of(mail)

    def test_template(self, server: tuple[MailServer, int]) -> None:
        """A template is the text."""
        assert text_of(the_mail(server, template="$job on $host: $tail")) == "backup on db1: no space left\n"

    def test_hostile_words(self, server: tuple[MailServer, int]) -> None:
        """Whatever stands in a summary, a command or a name makes no header, no line, and moves no cursor."""
        evil = "x\r\nBcc: all@example.org\r\n\r\nhello\x1b[2J\u202e"
        event = an_event(summary=evil, command=["echo", evil], user=evil, run=evil, job=evil, host=evil)
        mail = the_mail(server, event)
        assert mail["Bcc"] is None
        assert mail["Message-ID"].endswith("@localhost>")
        assert b"\x1b" not in mail.as_bytes()
        assert [line for line in text_of(mail).splitlines() if line.startswith("Bcc")] == []
        assert "\\x1b[2J\\u202e" in text_of(mail)

    @pytest.mark.parametrize(
        "address",
        [
            "a@b\nBcc: c@d",
            "a@b\r\n",
            "a b@c",
            "-oQ/tmp",
            "|/bin/sh",
            "/srv/mails",
            "",
            "a@b,c@d",
            "<a@b>",
            "Ops <a@b>",
            "ä@b",
            "a@-b",
            'a"@b',
        ],
    )
    def test_bad_addresses(self, server: tuple[MailServer, int], address: str) -> None:
        """What is not one plain address is refused, as receiver and as sender, and nothing is sent."""
        to = send(document("email", address, smtp=f"smtp://127.0.0.1:{server[1]}"))
        assert to.startswith("never the address is ")
        if address:
            assert mailed(server[1], **{"from": address}).startswith("never from is ")
        assert server[0].mails == []

    def test_bad_instant(self, server: tuple[MailServer, int]) -> None:
        """One that is none is said."""
        assert "expected RFC 3339" in mailed(server[1], an_event(at="today"))


class TestOutput:
    """The output of the run."""

    def test_short(self, server: tuple[MailServer, int], tmp_path: Path) -> None:
        """One that the text shows as it is need not be attached."""
        mail = the_mail(server, with_output(tmp_path / "142.log", "all\ngrün\n".encode()))
        assert "Its output:\n\nall\ngrün\n" in text_of(mail)
        assert attached(mail) == []

    def test_not_text(self, server: tuple[MailServer, int], tmp_path: Path) -> None:
        """Bytes that are no UTF-8, and terminal escapes, are visible, and attached as they were."""
        data = b"\xff\xfe\x1b]0;evil\x07\r\nFrom me\n.\n\0" + b"x" * 3000 + b"\n"
        mail = the_mail(server, with_output(tmp_path / "142.log", data))
        assert "\\xff\\xfe\\x1b]0;evil\\x07\nFrom me\n.\n\\x00xxx" in text_of(mail)
        assert attached(mail) == [data]
        assert "The output is attached as it was written." in text_of(mail)
        assert [part.get_filename() for part in mail.iter_attachments()] == ["backup@142.log"]
        assert max(map(len, mail.as_bytes().split(b"\n"))) <= 998

    def test_large(self, server: tuple[MailServer, int], tmp_path: Path) -> None:
        """Of 10 MB the end is attached, up to the limit, and the mail says so."""
        data = b"".join(b"line %06d of it\n" % number for number in range(10 << 16))
        mail = the_mail(server, with_output(tmp_path / "142.log", data), attach_limit=1 << 16)
        [end] = attached(mail)
        assert (1 << 16) - 18 < len(end) <= 1 << 16
        assert data.endswith(b"\n" + end)
        text = text_of(mail)
        assert "Its output (the end of 11.25 MiB):\n\nline 6" in text
        assert f"The last {size(len(end))} are attached; for the full output: jobqueuectl logs backup@142" in text

    def test_attach_nothing(self, server: tuple[MailServer, int], tmp_path: Path) -> None:
        """No attachment, if none is wanted."""
        mail = the_mail(server, with_output(tmp_path / "142.log", b"\xff" * 100_000), attach_limit=0)
        assert attached(mail) == []
        assert "\\xff" in text_of(mail)

    @pytest.mark.parametrize("limit", [-1, (16 << 20) + 1, "1M"])
    def test_bad_limit(self, server: tuple[MailServer, int], limit: object) -> None:
        """One that can't be is said."""
        assert mailed(server[1], attach_limit=limit).startswith("never ")

    @pytest.mark.parametrize("how", ["gone", "link", "fifo"])
    def test_unreadable(self, server: tuple[MailServer, int], tmp_path: Path, how: str) -> None:
        """One that can't be read costs no mail: the record's tail is there, and why; a link is not followed."""
        path = tmp_path / "142.log"
        event = with_output(path, b"secret")
        path.unlink()
        if how == "link":
            path.symlink_to("/etc/passwd")
        if how == "fifo":
            os.mkfifo(path)
        text = text_of(the_mail(server, event))
        assert f"Its output can't be read: {path}: " in text
        assert "the tail\n" in text


class TestSmtp:
    """Servers that speak SMTP."""

    @pytest.mark.parametrize(
        ("command", "fault", "verdict"),
        [
            ("MAIL", "451 come back", "later 0 {url}: 451 come back"),
            ("RCPT", "450 greylisted", "later 0 {url}: ops@example.org: 450 greylisted"),
            ("DATA", "421 shutting down", "later 0 {url}: 421 shutting down"),
            ("MAIL", "553 no such sender", "never {url}: 553 no such sender"),
            ("RCPT", "550 no such user", "never {url}: ops@example.org: 550 no such user"),
            ("DATA", "554 spam", "never {url}: 554 spam"),
            ("MAIL", "close", "later 0 {url}: Connection unexpectedly closed"),
            ("RCPT", "close", "later 0 {url}: Connection unexpectedly closed"),
            ("DATA", "close", "later 0 {url}: Connection unexpectedly closed"),
            ("QUIT", "close", "sent"),
            ("QUIT", "554 no", "sent"),
        ],
    )
    def test_refusals(self, command: str, fault: str, verdict: str) -> None:
        """4xx and lost connections may pass, 5xx will not; what was taken is sent, whatever comes then."""
        with mail_server(MailServer(**{command: fault})) as port:
            assert mailed(port).partition(": [Errno")[0] == verdict.format(url=f"smtp://127.0.0.1:{port}")

    @pytest.mark.parametrize("command", ["RCPT", "DATA"])
    def test_hangs(self, command: str) -> None:
        """A server that hangs is left."""
        with mail_server(MailServer(**{command: "hang"})) as port:
            verdict = mailed(port, timeout=0.9)
        assert verdict.startswith(f"later 0 smtp://127.0.0.1:{port}: ")
        assert "timed out" in verdict or "no answer within" in verdict

    def test_hangs_after_it_took(self) -> None:
        """The mail is sent."""
        with mail_server(MailServer(QUIT="hang")) as port:
            assert mailed(port, timeout=2.4) == "sent"

    def test_nobody_there(self, unused_port: int) -> None:
        """A refused connection may pass."""
        assert mailed(unused_port) == f"later 0 smtp://127.0.0.1:{unused_port}: Connection refused"

    @pytest.mark.parametrize(
        "url", ["mail.example.org", "smtp://", "http://x", "smtp://h:99999", "smtp://h:x", "smtp://[", "smtp://a b"]
    )
    def test_bad_urls(self, url: str) -> None:
        """What is none is refused with what is accepted."""
        assert "expected smtp://HOST:PORT or smtps://HOST:PORT" in send(document("email", TO, smtp=url))


class TestTls:
    """TLS, and passwords, which go over nothing else."""

    @pytest.fixture
    def trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This host trusts the certificate of the tests."""
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    @pytest.fixture
    def password(self, tmp_path: Path) -> Path:
        """A file with a password."""
        path = tmp_path / "smtp.password"
        path.write_text("correct horse\n")
        path.chmod(0o640)
        return path

    @pytest.mark.parametrize(("how", "encrypted"), [("opportunistic", True), (None, True), ("never", False)])
    def test_offered(self, how: str | None, encrypted: bool) -> None:
        """STARTTLS is used where it is offered, with any certificate, unless it is not wanted."""
        server = MailServer()
        with mail_server(server, tls_context=tls()) as port:
            assert mailed(port, starttls=how) == "sent"
        assert [encrypted] == [session.ssl is not None for session in server.sessions]

    def test_required_is_verified(self) -> None:
        """Who requires it wants to know to whom it speaks."""
        with mail_server(MailServer(), tls_context=tls()) as port:
            verdict = mailed(port, starttls="required")
        assert verdict.startswith(f"never smtp://127.0.0.1:{port}: its certificate is refused: self")
        assert "update-ca-certificates" in verdict

    @pytest.mark.usefixtures("trusted")
    def test_required(self) -> None:
        """A certificate that is trusted will do."""
        with mail_server(MailServer(), tls_context=tls()) as port:
            assert mailed(port, starttls="required") == "sent"

    def test_not_offered(self, server: tuple[MailServer, int]) -> None:
        """Where it is required, nothing goes without it."""
        assert mailed(server[1], starttls="required").endswith("STARTTLS extension not supported by server.")
        assert server[0].mails == []

    def test_unknown(self, server: tuple[MailServer, int]) -> None:
        """Another word is refused."""
        assert "expected opportunistic, required, never" in mailed(server[1], starttls="always")

    @pytest.mark.usefixtures("trusted")
    @pytest.mark.filterwarnings("ignore:Requiring AUTH")  # TLS is there before the server knows of it
    @pytest.mark.parametrize("scheme", ["smtp", "smtps"])
    def test_password(self, password: Path, scheme: str) -> None:
        """It is read from its file, and goes over TLS."""
        server = MailServer()
        how = {"tls_context": tls()} if scheme == "smtp" else {"ssl_context": tls(), "auth_require_tls": False}
        with mail_server(server, password="correct horse", **how) as port:
            url = f"{scheme}://me@127.0.0.1:{port}"
            assert send(document("email", TO, smtp=url, password_file=str(password))) == "sent"
        assert [True] == [session.authenticated for session in server.sessions]

    @pytest.mark.usefixtures("trusted")
    def test_wrong_password(self, password: Path) -> None:
        """It is told, and not shown."""
        with mail_server(MailServer(), password="another", tls_context=tls()) as port:
            verdict = send(document("email", TO, smtp=f"smtp://someone@127.0.0.1:{port}", password_file=str(password)))
        assert verdict.startswith(f"never smtp://127.0.0.1:{port}: 535 ")
        assert "horse" not in verdict
        assert "someone" not in verdict

    @pytest.mark.usefixtures("trusted")
    @pytest.mark.parametrize("sent", ["\0someone\0correct horse", "correct horse"])
    def test_password_that_comes_back(self, password: Path, sent: str) -> None:
        """A server that says what it was sent, in the form of AUTH, gives nothing away."""
        echo = base64.b64encode(sent.encode()).decode()
        with mail_server(MailServer(), password="x", refusal=f"535 not known: {echo}", tls_context=tls()) as port:
            url = f"smtp://someone@127.0.0.1:{port}"
            verdict = send(document("email", TO, smtp=url, password_file=str(password)))
        assert verdict == f"never smtp://127.0.0.1:{port}: 535 not known: …"

    def test_no_password_to_a_stranger(self, password: Path) -> None:
        """With a user, STARTTLS is as good as required: who is there has to prove it."""
        server = MailServer()
        with mail_server(server, tls_context=tls()) as port:
            url = f"smtp://me@127.0.0.1:{port}"
            verdict = send(document("email", TO, smtp=url, password_file=str(password), starttls="opportunistic"))
        assert "its certificate is refused" in verdict
        assert server.mails == []

    @pytest.mark.parametrize("how", ["never", "opportunistic"])
    def test_no_password_in_the_open(self, server: tuple[MailServer, int], password: Path, how: str) -> None:
        """Where there is no TLS, none is sent."""
        url = f"smtp://me@127.0.0.1:{server[1]}"
        verdict = send(document("email", TO, smtp=url, password_file=str(password), starttls=how))
        assert verdict.startswith(f"never smtp://127.0.0.1:{server[1]}: ")
        assert server[0].mails == []

    @pytest.mark.parametrize(
        ("mode", "content", "said"),
        [
            (None, "", "No such file or directory"),
            (0o644, "x\n", "any user can read or write it: chmod o= "),
            (0o602, "x\n", "any user can read or write it: chmod o= "),
            (0o600, "\n", "expected one line"),
            (0o600, "x" * 5000, "expected one line"),
            (0o600, "grün\n", "must be ASCII"),
        ],
    )
    def test_bad_password_file(self, password: Path, mode: int | None, content: str, said: str) -> None:
        """A file that is not there, everybody's, or not what it should be is said, with its path."""
        password.unlink()
        if mode is not None:
            password.write_text(content)
            password.chmod(mode)
        verdict = send(document("email", TO, smtp="smtps://me@127.0.0.1:1", password_file=str(password)))
        assert verdict.startswith("never ")
        assert said in verdict

    def test_relative_password_file(self) -> None:
        """A path from nowhere is refused."""
        verdict = send(document("email", TO, smtp="smtps://me@127.0.0.1:1", password_file="secret"))
        assert verdict == "never password_file is 'secret'; expected an absolute path"

    @NEEDS_USER
    def test_password_that_is_not_ours(self, password: Path) -> None:
        """Where the notifier may not read it, the command that lets it is said."""
        password.chmod(0)
        verdict = send(document("email", TO, smtp="smtps://me@127.0.0.1:1", password_file=str(password)))
        told = f"never {password}: Permission denied: chgrp jobqueue {password} && chmod 640 {password}"
        assert verdict.removesuffix("…") == told[: len(verdict.removesuffix("…"))]
        assert verdict.startswith(f"never {password}: Permission denied: chgrp jobqueue {password} ")


class TestSendmail:
    """sendmail(8)."""

    @pytest.fixture
    def sendmail(self, tmp_path: Path) -> Path:
        """A program in its place that keeps its arguments and its input, then does what the file `end` says."""
        path = tmp_path / "sendmail"
        path.write_text(f'#!/bin/sh\ncd {tmp_path}\nprintf "%s\\n" "$@" >arguments\ncat >mail\n. ./end\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "end").write_text("exit 0")
        return path

    def test_takes_it(self, sendmail: Path) -> None:
        """It gets the addresses as arguments, none of which can be an option, and a mail with newlines."""
        assert send(document("email", TO, sendmail=str(sendmail), **{"from": "me@db1"})) == "sent"
        arguments = (sendmail.parent / "arguments").read_text().split("\n")[:-1]
        assert arguments == ["-i", "-f", "me@db1", "--", TO]
        mail = (sendmail.parent / "mail").read_bytes()
        assert b"\r" not in mail
        assert f"\nTo: {TO}\n".encode() in mail

    @pytest.mark.parametrize(
        ("code", "verdict"), [(75, "later 0"), (71, "later 0"), (1, "later 0"), (67, "never"), (78, "never")]
    )
    def test_exit_codes(self, sendmail: Path, code: int, verdict: str) -> None:
        """What sysexits(3) calls lasting is; the last line of stderr is quoted."""
        (sendmail.parent / "end").write_text(f"echo noise >&2; echo why >&2; exit {code}")
        said = send(document("email", TO, sendmail=str(sendmail)))
        assert said == f"{verdict} {sendmail}: exit code {code}: why"

    def test_hangs(self, sendmail: Path) -> None:
        """It is killed, and all that it has started with it."""
        fifo = sendmail.parent / "fifo"
        os.mkfifo(fifo)
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        (sendmail.parent / "end").write_text("exec 9>fifo; sleep 1000 & wait")
        said = send(document("email", TO, sendmail=str(sendmail), timeout=0.5))
        assert said == f"later 0 {sendmail} did not end within 0.5 s, and was killed"
        wait_for(lambda: hung_up(reading))
        os.close(reading)

    def test_is_missing(self) -> None:
        """It is named."""
        assert (
            send(document("email", TO, sendmail="/nowhere/sendmail"))
            == "never /nowhere/sendmail: No such file or directory"
        )
