"""The notifier as a program, and what it hands a notice to: commands, Apprise."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueued.child.notifier import webhook
from jobqueued.child.notifier.main import send
from jobqueued.child.notifier.notice import LARGEST
from tests.support import REPO
from tests.support.notices import SUMMARY, an_event, document
from tests.support.receivers import WebServer, answer

PROGRAM = REPO / "jobqueued/child/notifier/main.py"


def ran(data: bytes, *options: str, limit: int = 0) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of the program as it is started, with `limit` bytes of memory."""
    command = [sys.executable, "-I", *options, str(PROGRAM)]
    bound = (lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))) if limit else None
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, input=data, capture_output=True, cwd="/", env=environment, preexec_fn=bound, check=False
    )
    return done.returncode, done.stdout, done.stderr


class TestProgram:
    """The program."""

    def test_sends(self) -> None:
        """Started with nothing but its input, it sends, and says so in one line."""
        with WebServer(answer("204 No Content")) as server:
            assert (0, b"sent\n", b"") == ran(document("webhook", server.url))
        assert ["POST"] == [request.method for request in server.requests]

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "never the notice is not JSON"),
            (b"{", "never the notice is not JSON"),
            (b"[" * 100_000, "never the notice is not JSON"),
            (b"\xff", "never the notice is not JSON"),
            (b"[]", "never the notice is not of version 1; restart jobqueued after an upgrade"),
            (b'{"version": 2}', "never the notice is not of version 1; restart jobqueued after an upgrade"),
            (b'{"version": 1, "event": {"at": 3}}', "never the notice lacks id, channel, target, settings, "
             "event.event, event.host, event.at, event.summary"),
            (document("command", []), "never the notice's target is a list with an item that is not a string"),
            (document("pigeon", "x"), "never there is no channel pigeon; expected email, webhook, command, apprise"),
            (document("webhook", ["x"]), "never webhook: found a list; expected one target"),
            (document("email", "a@b", timeout="5s"), "never email: timeout is a str, which is not accepted"),
            (document("email", "a@b", timeout=0), "never email: timeout is 0; expected up to 55 (seconds)"),
            (document("email", "a@b", timeout=56), "never email: timeout is 56; expected up to 55 (seconds)"),
            (document("email", "a@b").replace(b"n-142", b"n\\n142"), "never the notice's id can't be used in a header"),
            (b" " * (LARGEST + 1), "never the notice has more than 8 MiB"),
        ],
    )  # fmt: skip
    def test_bad_notices(self, data: bytes, said: str) -> None:
        """What is none is told."""
        assert send(data) == said

    def test_half_characters(self, tmp_path: Path) -> None:
        """A notice that JSON can write and UTF-8 can't is sent none the less."""
        command = tmp_path / "command"
        command.write_text(f"#!/bin/sh\ncat >{tmp_path}/got\n")
        command.chmod(0o755)
        assert send(document("command", str(command), an_event(summary="half \ud800"))) == "sent"
        assert json.loads((tmp_path / "got").read_bytes())["summary"] == "half ?"

    def test_a_bug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception that nobody foresaw is told by its place, as what it says might be a secret."""

        def failing(_: object) -> None:
            raise KeyError("secret")

        monkeypatch.setattr(webhook, "send", failing)
        verdict = send(document("webhook", "http://h"))
        assert verdict.startswith("later 0 a bug of jobqueued: KeyError at test_notifier.py:")
        assert verdict.endswith("; please report this bug")

    def test_prints_nothing_else(self) -> None:
        """Whatever is printed meanwhile is no verdict."""
        command = f"import sys; sys.path.insert(0, {str(REPO)!r}); from jobqueued.child.notifier import main, webhook\n"
        command += "webhook.send = lambda notice: print('sent by mistake')\nmain.main()"
        done = subprocess.run(
            [sys.executable, "-c", command], input=document("webhook", "x"), capture_output=True, check=False
        )
        assert (b"sent\n", b"sent by mistake\n") == (done.stdout, done.stderr)

    def test_nobody_looks_on(self) -> None:
        """What it is told is in no core, and hidden from others of its user; a receiver is not."""
        command = f"import ctypes, sys; sys.path.insert(0, {str(REPO)!r})\n"
        command += "from jobqueued.child.notifier import main, webhook\n"
        command += "webhook.send = lambda notice: print(ctypes.CDLL(None).prctl(3))\n"
        command += "main.main()"
        done = subprocess.run(
            [sys.executable, "-c", command], input=document("webhook", "x"), capture_output=True, check=False
        )
        assert b"0\n" == done.stderr
        assert "sent" == send(document("command", ["/usr/bin/test", "-r", "/proc/self/environ"]))

    def test_little_memory(self, tmp_path: Path) -> None:
        """Where its memory does not suffice it says so; 256 MiB do."""
        path = tmp_path / "142.log"
        path.write_bytes(os.urandom(6 << 20))
        event = an_event()
        event["record"]["output"]["file"] = str(path)
        small, large = (
            document("email", "a@b", event, sendmail="/bin/true", attach_limit=limit) for limit in (1 << 20, 6 << 20)
        )
        assert (0, b"sent\n", b"") == ran(small, limit=256 << 20)
        said = b"later 0 the notifier ran out of memory; attach less (attach_limit)\n"
        assert (0, said, b"") == ran(large, limit=48 << 20)


class TestCommand:
    """Commands."""

    @pytest.fixture
    def script(self, tmp_path: Path) -> Callable[[str], str]:
        """A command of these lines of shell, started in its directory."""

        def make(text: str) -> str:
            path = tmp_path / "command"
            path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
            path.chmod(0o755)
            return str(path)

        return make

    def test_gets_it(self, script: Callable[[str], str], tmp_path: Path) -> None:
        """The event is on its stdin, the usual parts of it are variables, and its arguments are its own."""
        path = script('cat >event; env >variables; printf "%s\\n" "$@" >arguments; echo noise; echo noise >&2')
        assert send(document("command", [path, "a b", "c"])) == "sent"
        assert json.loads((tmp_path / "event").read_bytes()) == {"version": 1, "id": "n-142", **an_event()}
        assert (tmp_path / "arguments").read_text() == "a b\nc\n"
        variables = dict(line.split("=", 1) for line in (tmp_path / "variables").read_text().splitlines())
        own = {name: value for name, value in variables.items() if name.startswith("JOBQUEUE_")}
        assert own == {
            "JOBQUEUE_EVENT": "failure", "JOBQUEUE_JOB": "backup", "JOBQUEUE_RUN": "backup@142",
            "JOBQUEUE_SUMMARY": SUMMARY,
        }  # fmt: skip

    def test_no_run(self, script: Callable[[str], str]) -> None:
        """Of a notice about no run the variables are empty; hostile ones are what is printed of them."""
        path = script('[ "$JOBQUEUE_RUN" = "" ] && [ "$JOBQUEUE_SUMMARY" = "a\\x00b" ]')
        assert send(document("command", path, an_event(run=None, job=None, summary="a\0b"))) == "sent"

    @pytest.mark.parametrize(
        ("end", "verdict"),
        [
            ("exit 75", "later 0 COMMAND: exit code 75"),
            ("echo 'no route' >&2; echo >&2; exit 75", "later 0 COMMAND: exit code 75: no route"),
            ("echo a >&2; printf '\\033[2Jb\\377' >&2; exit 3",
             "never COMMAND: exit code 3: \\x1b[2Jb\ufffd; to be retried, it must exit with 75"),
            ("kill -9 $$", "later 0 COMMAND was ended by signal 9 (SIGKILL)"),
            ("sleep 1000 & echo $! >child", "sent"),
            ("yes >&2 & echo $! >child; exit 0", "sent"),
            ("exec 0<&-; exit 0", "sent"),
        ],
    )  # fmt: skip
    def test_ends(self, script: Callable[[str], str], tmp_path: Path, end: str, verdict: str) -> None:
        """Its exit code is the verdict, whatever it leaves behind or does not read."""
        path = script(end)
        said = send(document("command", path))
        if (child := tmp_path / "child").exists():
            os.kill(int(child.read_text()), signal.SIGKILL)
        assert said == verdict.replace("COMMAND", path)

    def test_talks_for_ever(self, script: Callable[[str], str]) -> None:
        """It is killed at the end of its time, and nothing of what it says is kept but the end."""
        path = script("exec yes >&2")
        said = send(document("command", path, timeout=0.3))
        late = (
            "not sent within 0.3 s: the receiver is too slow; check the"
            " receiver"
        )  # where the machine was slow to start it
        assert said in (f"later 0 {path} did not end within 0.3 s, and was killed", f"later 0 {late}")

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("mail", "command: mail: expected an absolute path"),
            ("", "command: : expected an absolute path"),
            (["/bin/true", "a\0b"], "command: /bin/true: expected an absolute path"),
            ("/nowhere", "/nowhere: No such file or directory"),
            ("/etc", "/etc: Permission denied"),
            ("/etc/passwd", "/etc/passwd: Permission denied"),
        ],
    )
    def test_cannot_start(self, target: str | list[str], said: str) -> None:
        """What is no program is named."""
        assert send(document("command", target)) == f"never {said}"


class TestApprise:
    """Apprise."""

    def test_is_missing(self) -> None:
        """Without it, that is said, and what installs it."""
        said = b"never apprise is not installed; to install it: apt install apprise\n"
        assert (0, said, b"") == ran(document("apprise", "json://127.0.0.1/"), "-S")

    @pytest.fixture
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
        """A module in its place: it keeps what it is given, and takes it if its URL is one of ``good://``."""
        module, given = ModuleType("apprise"), list[dict[str, object]]()

        class Apprise:
            def add(self, url: str) -> bool:
                self.url = url
                return "://" in url

            def notify(self, **fields: object) -> bool:
                given.append(fields)
                return self.url.startswith("good://")

        module.Apprise = Apprise  # type: ignore[attr-defined]
        module.NotifyType = type("NotifyType", (), {"FAILURE": "failure", "SUCCESS": "success"})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "apprise", module)
        return given

    def test_sends(self, fake: list[dict[str, object]]) -> None:
        """It gets title, text and kind."""
        assert send(document("apprise", "good://x")) == "sent"
        assert send(document("apprise", "good://x", an_event(event="recovery"), template="$job is well")) == "sent"
        [failure, recovery] = fake
        assert (SUMMARY, "failure", "text") == tuple(failure[name] for name in ("title", "notify_type", "body_format"))
        assert "no space left" in str(failure["body"])
        assert ("backup is well", "success") == (recovery["body"], recovery["notify_type"])

    def test_fails(self, fake: list[dict[str, object]]) -> None:
        """Of a failure it tells no more, so it may pass; what is no URL never will be."""
        assert (
            send(document("apprise", "bad://verysecret/token")) == "later 0 apprise: bad:// did not accept the notice"
        )
        assert send(document("apprise", "verysecret")).startswith(
            "never apprise: found a URL that apprise does not support"
        )

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what it imports is its own business
    def test_the_real_one(self) -> None:
        """Where it is installed, it posts; to import it takes seconds on a busy host."""
        with WebServer(answer("200 OK")) as server:
            notice = document("apprise", f"json://127.0.0.1:{server.port}/verysecret", timeout=50)
            assert send(notice) == "sent"
            assert json.loads(server.requests[0].body)["title"] == SUMMARY
        assert send(notice).startswith("later 0 apprise: json://")


SECRETS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789-_", min_size=8, max_size=40)


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[WebServer, list[bytes]]]:
    """A server that says the last of a list."""
    answers = list[bytes]()
    with WebServer(lambda _: answers[-1]) as server:
        yield server, answers


class TestSecrets:
    """The verdict is one printable line without a secret, whatever a receiver says."""

    @settings(max_examples=60)
    @given(
        status=st.integers(300, 599),
        said=st.binary(max_size=400),
        path=SECRETS,
        token=SECRETS,
        password=SECRETS,
        key=st.text("abcdef0123456789", min_size=20),
    )
    @example(status=404, said=b"", path="x" * 40, token="y" * 40, password="z" * 40, key="k" * 20)
    def test_never_shown(
        self,
        echo: tuple[WebServer, list[bytes]],
        status: int,
        said: bytes,
        path: str,
        token: str,
        password: str,
        key: str,
    ) -> None:
        """A receiver that says all it was sent learns nothing that a reader of the log does then."""
        headers = {"X-Token": f"Bearer {token}"}
        server, answers = echo
        basic = base64.b64encode(f"user:{password}".encode()).decode()
        sent = f"{path} {token} {password} {key} {basic} /{path}?key={token} Bearer%20{token} ".encode()
        template = json.dumps({"routing_key": key, "summary": "$summary"})
        for body in (said + sent, sent + said, said.replace(b"\0", sent)):
            answers.append(answer(f"{status} {path}", body))
            url = server.url.replace("://", f"://user:{password}@") + f"/hooks/{path}"
            verdict = send(document("webhook", url, headers=headers, template=template))
            word, text = verdict.split(" ", 1)
            seconds, text = text.split(" ", 1) if word == "later" else ("0", text)
            assert word in ("later", "never")
            assert seconds == "0"
            assert text.isprintable()
            assert 0 < len(text) <= 300
            assert [] == [secret for secret in (path, token, password, key, basic) if secret in text]
