"""Wants of notices that are told before the first is sent: by check and doctor, and by who can't send it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueued.ctl.files import receivers
from jobqueued.ctl.files.receivers import Sender
from jobqueued.model.job import Job
from jobqueued.model.notify import Heartbeat, Notify, NotifyRule, Ping, Webhook
from jobqueued.model.users import Owner, UserLimits
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings
from tests.support import REPO
from tests.support.host import Host
from tests.support.stranger import public
from tests.support.users import ME, NEEDS_ROOT, OTHER, ROOT, USER

HOOK = "https://hooks.example.org/T0/B0/secret"


def found(root: Path, *wishes: Notify, config: Settings | None = None, notifier: str = ME.pw_name) -> list[str]:
    """The keys and messages about rules of the site and a job with these wishes; both tell the same."""
    config, paths = config or Settings(), Paths.under(root)
    told = []
    for rules, notify in ((tuple(map(NotifyRule, wishes)), Notify()), ((), wishes[0] if wishes else Notify())):
        whole = Settings(**{**_plain(config), "notify": rules, "notifier": notifier})
        jobs = [Job(id="a", command="x", notify=notify, file="f", line=2)]
        problems = list(receivers.problems(jobs, whole, paths, os.geteuid()))
        assert all(problem.severity == "warning" for problem in problems)
        told.append([f"{problem.key}: {problem.message}" for problem in problems])
    assert told[0] == told[1]
    return told[0]


def _plain(config: Settings) -> dict[str, object]:
    return {name: getattr(config, name) for name in Settings.__dataclass_fields__}


def test_programs(tmp_path: Path) -> None:
    """A command has to be there, and a program."""
    (plain := tmp_path / "plain").touch(0o644)
    assert [] == found(tmp_path, Notify(command=("/bin/true",)))
    assert ["notify.command: /nonexistent does not exist here; expected the path of a program"] == found(
        tmp_path, Notify(command=("/nonexistent",))
    )
    for path in (plain, tmp_path):
        assert f"notify.command: {path} is not a program here; expected the path of a program" in found(
            tmp_path, Notify(command=(str(path),))
        )


def test_a_daemon_whose_user_has_no_name(tmp_path: Path) -> None:
    """It sends as itself, so nothing is said of a notifier; of a program that it may not run it is."""
    uid = next(number for number in range(54321, 65536) if number not in {entry.pw_uid for entry in pwd.getpwall()})
    (program := tmp_path / "program").touch(0o700)
    tmp_path.chmod(0o755)
    jobs = [Job(id="a", command="x", notify=Notify(command=(str(path),)), file="f") for path in ("/bin/true", program)]
    told = [*receivers.problems(jobs, Settings(), Paths.under(tmp_path), uid)]
    assert [] == [problem for problem in told if "no user" in problem.message]
    assert [f"uid {uid}" in it.message for it in told if it.key == "notify.command"] == [True]


def test_mail(tmp_path: Path) -> None:
    """It needs the program sendmail, or a server, whose password is in a file; who mails to nobody needs neither."""
    mail = {"sendmail": str(tmp_path / "sendmail"), "password_file": str(tmp_path / "password")}
    config, wish = Settings(mail=mail), Notify(email=("ops@example.org",))
    assert [] == found(tmp_path, Notify(command=("/bin/true",)), config=config)
    sendmail, password = found(tmp_path, wish, config=config)
    assert (
        f"mail.sendmail: {mail['sendmail']} does not exist here; expected the path of a program, or `smtp`" in sendmail
    )
    assert f"mail.password_file: {mail['password_file']} does not exist here" in password
    by_smtp = Settings(mail={"smtp": "smtp://localhost:25"})
    assert [] == found(tmp_path, wish, config=by_smtp)


def test_secrets(tmp_path: Path) -> None:
    """A file with one is not everybody's."""
    secret = tmp_path / "secret"
    wish = Notify(webhook=(Webhook(HOOK, secret_file=str(secret)),))
    (missing,) = found(tmp_path, wish)
    assert f"notify.webhook.secret_file: {secret} does not exist here" in missing
    secret.touch(0o600)
    assert [] == found(tmp_path, wish)
    secret.chmod(0o604)
    (shared,) = found(tmp_path, wish)
    assert f"any user may read or write {secret}; to prevent it: chmod o= {secret}" in shared


@NEEDS_ROOT
def test_what_the_sender_may_not() -> None:
    """Each way to a file is looked at as the user who sends: by mode, and by the directories above."""
    with public() as directory:
        (hidden := directory / "hidden").mkdir(0o700)
        for name in ("secret", "program"):
            (directory / name).touch()
            (directory / name).chmod(0o700)
            (hidden / name).touch()
            (hidden / name).chmod(0o755 if name == "program" else 0o640)
        wish = Notify(
            webhook=(Webhook(HOOK, secret_file=f"{directory}/secret"), Webhook(HOOK, secret_file=f"{hidden}/secret")),
            command=(f"{directory}/program", f"{hidden}/program"),
        )
        told = [line for line in found(directory, wish, notifier=OTHER) if not line.startswith("notifier")]
        group = receivers._group(Sender.of(OTHER))
        assert told == [
            f"notify.command: {OTHER} can't start {directory}/program because of its mode; "
            "expected a program that it can start",
            f"notify.command: {OTHER} can't start {hidden}/program because it may not enter {hidden}; "
            "expected a program that it can start",
            f"notify.webhook.secret_file: {OTHER} may not read {directory}/secret; "
            f"to permit it: chgrp {group} {directory}/secret && chmod 640 {directory}/secret",
            f"notify.webhook.secret_file: {OTHER} may not enter {hidden}; "
            "use a directory that it may enter, such as /etc/jobqueued",
        ]
        assert Sender.of("root").barred(f"{hidden}/program") == ""


def of_a_user(root: Path, reach: tuple[str, ...] = (), ping: str = "", **wish: object) -> list[str]:
    """The messages about a job of the user's with these channels, whose notifier is another user."""
    own = Owner(pwd.getpwnam(USER).pw_uid, USER)
    notify = Notify(**wish, owner=own)  # type: ignore[arg-type]
    job = Job(
        id=f"{USER}/a",
        command="x",
        owner=own,
        notify=notify,
        file="f",
        ping=Ping(ping, owner=own) if ping else None,
    )
    settings = Settings(notifier=OTHER, users=UserLimits(reach=reach))
    found = receivers.problems([job], settings, Paths.under(root), os.geteuid())
    return [f"{it.code} {it.key}: {it.message}" for it in found if it.key != "notifier"]


@NEEDS_ROOT
def test_the_channels_of_a_user() -> None:
    """They are looked at as that user, and what is said is for users: no secret of theirs is the notifier's to read."""
    with public() as directory:
        for name in ("secret", "program"):
            (directory / name).touch()
            os.chown(directory / name, pwd.getpwnam(USER).pw_uid, 0)
            (directory / name).chmod(0o700)
        hook = Webhook(HOOK, secret_file=f"{directory}/secret")
        assert [] == of_a_user(directory, webhook=(hook,), command=(f"{directory}/program",))
        os.chown(directory / "secret", 0, pwd.getpwnam(OTHER).pw_gid)
        (directory / "secret").chmod(0o640)
        said = f"{USER} may not read {directory}/secret; use a file that it may read"
        assert [f"JQ516 notify.webhook.secret_file: {said}"] == of_a_user(directory, webhook=(hook,))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:2586/x", "127.0.0.1:2586"), ("https://localhost/x", "127.0.0.1:443"),
        ("http://[::1]/", "[::1]:80"), ("http://[::ffff:169.254.169.254]/", "169.254.169.254:80"),
        ("https://example.org", ""), ("http://10.0.0.1/", ""), ("http://[::1", ""),
    ],
)  # fmt: skip
def test_what_of_a_users_channels_leads_here(url: str, shown: str, tmp_path: Path) -> None:
    """It is told of an address in the URL of a webhook, its proxy and a ping, unless the site permits it."""
    hooks = (Webhook(url), Webhook(HOOK, proxy=url))
    for wish, key in (({"webhook": hooks[:1]}, "notify.webhook"), ({"webhook": hooks[1:]}, "notify.webhook"),
        ({"ping": url}, "ping")):  # fmt: skip
        told = of_a_user(tmp_path, **wish)  # type: ignore[arg-type]
        assert bool(shown) == bool(told)
        assert not shown or told[0].startswith(f"JQ520 {key}: {shown} is an address of this host")
        assert not shown or f"`users: {{reach: ['{shown}']}}` in jobqueued.yaml" in told[0]
        assert [] == of_a_user(tmp_path, (shown,), **wish)  # type: ignore[arg-type]
    assert [] == found(tmp_path, Notify(webhook=(Webhook(url),)))


def test_the_sender_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be there as soon as anything is to be sent, and to reach our Python."""
    unused = Settings(notifier="no-such-user")
    assert [] == [*receivers.problems((), unused, Paths.under(tmp_path), 0)]
    beating = Settings(notifier="no-such-user", heartbeat=Heartbeat(HOOK, 60))
    (problem,) = receivers.problems((), beating, Paths.under(tmp_path), 0)
    assert ("notifier", str(Paths.under(tmp_path).config)) == (problem.key, problem.file)
    assert "no user 'no-such-user' on this host, so no notice can be sent" in problem.message
    told = found(tmp_path, Notify(command=("/nonexistent",)), notifier="no-such-user")
    without_root = ["notify.command"]  # an ordinary user's notices are sent as that user
    assert (["notifier"] if ROOT else []) + without_root == [each.partition(":")[0] for each in told]
    monkeypatch.setattr(Sender, "barred", lambda _self, _path: "/root")
    (barred, *_) = found(tmp_path, Notify(apprise=("ntfy://x",)))
    assert f"{ME.pw_name} can't start {sys.executable}, because it may not enter /root; use a user who can" in barred


def test_apprise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    (missing,) = found(tmp_path, Notify(apprise=("ntfy://x",)))
    assert "the package apprise is not installed; install it (apt install apprise)" in missing


def test_check_and_doctor(tmp_path: Path) -> None:
    """Both tell it, the one before a file is put there, the other of a daemon that runs."""
    host = Host(tmp_path / "host")
    try:
        config = host.root / "jobqueued.yaml"
        config.write_text(f"notify: {{command: /nonexistent}}\nnotifier: {ME.pw_name}\n")
        host.write("a.yaml", "jobs: {a: {command: 'true', notify: {command: /neither}}}")
        host.write("b.yaml", "jobs: {b: {command: 'true', notify: {on: success}}}")
        host.start("--config", str(config))
        ctl = [sys.executable, "-m", "jobqueued.ctl", "--root", str(host.root), "--config", str(config)]
        checked = subprocess.run([*ctl, "check"], capture_output=True, text=True, check=False, cwd=REPO)
        assert (
            f"{config}: notify.command: /nonexistent does not exist here; expected the path of a program"
            in checked.stdout
        )
        assert "a.yaml:1: a: notify.command: /neither does not exist here" in checked.stdout
        assert 0 == checked.returncode
        doctor = subprocess.run([*ctl, "doctor", "--json"], capture_output=True, text=True, check=False, cwd=REPO)
        told = [it["seen"] for it in json.loads(doctor.stdout)["findings"] if it["what"] == "notices"]
        once = ("notify: has no effect", "/nonexistent does not exist", "/neither does not exist")
        assert [True] * 3 == [want in text for want, text in zip(once, told, strict=True)], told
    finally:
        host.close()


BARRED = """
import json, os, sys
from jobqueued.child import sending
from jobqueued.child.start import spawn
spawn.become_subreaper()
if sys.argv[1] == "python":
    sys.executable = sys.argv[2]
elif sys.argv[1] == "package":
    sending.NOTIFIER = sys.argv[2]
document = os.memfd_create("notice")
os.write(document, json.dumps({"user": sys.argv[3], "notice": {}}).encode())
print(sending.send(document)[0])
"""


@NEEDS_ROOT
@pytest.mark.parametrize("what", ["python", "package", "user"])
def test_a_sender_who_can_not(what: str) -> None:
    """The first notice says which setting is to be changed."""
    with public() as directory:
        (hidden := directory / "hidden").mkdir(0o700)
        (hidden / "it").touch(0o755)
        user = "no-such-user" if what == "user" else OTHER
        command = [sys.executable, "-c", BARRED, what, str(hidden / "it"), user]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=REPO)
    assert done.stdout.startswith("later 0 ")
    remedy = (
        "create this user with systemd-sysusers, or set another `notifier` in jobqueued.yaml and restart jobqueued"
        if what == "user"
        else "set `notifier` in jobqueued.yaml to a user who can, and restart jobqueued"
    )
    assert done.stdout.endswith(f"; {remedy}\n")
