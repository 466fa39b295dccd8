"""Commands of other programs that the papers show: what a shell would run, and which of it is tried where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.tree.drop_ins import FileText, packed
from tests.support.papers import OF_OTHERS, TYPED, blocks, dialogue, job_files, spans

SHELL = {
    "cd", "set", "test", "[", "echo", "exit", "export", "for", "do", "done", "trap", "continue", "{", "}", "!", "sleep",
    "sudo", "exec",
}  # fmt: skip
"""What a shell has itself, or what stands before a program."""
OURS = {"jobqueuectl", "jobqueued", "make", "python", "python3", "bench", "env", "jobqueue-fence"}
"""What test_docs.py knows."""
READERS = (
    "dump", "export-orders", "generate-jobs", "import-scan", "mailq", "make-report", "probe", "reindex", "replicate",
    "tidy-mail", "train", "transcode-queue", "upload-orders", "./load", "./migrate",
    *(f"/usr/local/bin/{name}" for name in ("backup", "cleanup", "fetch", "import", "import-orders", "report", "rotate",
                                            "simulate", "take-in", "train", "warm-up")),
    "/opt/dump", "/opt/report",
)  # fmt: skip
"""Programs that stand for those of whoever reads; in the machine they do nothing."""
VERB = r"(systemctl|apt|podman) [a-z]+|[a-z]+ (-\w|--\w+)|systemctl --user"
"""A program with a verb or an option alone, which its help has to know."""
ELSEWHERE: dict[str, tuple[str, str]] = {
    r"(sudo )?apt install \./build/deb/\S+": ("tests/system/test_package.py", 'apt("install", deb("jobqueued-cron"))'),
    r"sudo apt install cron at": ("tests/system/test_package.py", 'apt("install", deb("cron"))'),
    r"apt (remove|purge)": ("tests/system/test_package.py", 'apt("remove", '),
    r"(sudo )?apt (build-dep|install) [^/]*": ("tests/test_foreign.py", '"apt-get"'),
    r"ssh .*": ("tests/test_foreign.py", '"ssh"'),
    r"(cat|export) --[a-z-]+": ("tests/pure/test_docs.py", "def test_an_option_is_there("),
    r"python -m .*": ("tests/pure/test_docs.py", "def test_a_module_is_there("),
    r"sed -i 's/-lt .*|used=.*": ("tests/real/days/test_first_steps.py", "dialogue(block)"),
    r"set -e\nchanged=.*": ("tests/real/fleet/test_fence_recipes.py", "recipes.md"),
    r"cat FILE\.1 FILE \| .*": ("tests/real/daemon/test_trace.py", "cat FILE"),
    r"jobqueuectl drain && systemctl reboot": ("tests/system/test_reboot.py", 'sh("systemctl", "reboot")'),
    r"systemctl restart jobqueued && systemctl disable --now cron": (
        "tests/system/test_crontab.py", 'sh("systemctl", "disable", "--now", "cron")',
    ),
    r"sudo sh -c .*atjobs.*": ("tests/system/test_at.py", 'sh("jobqueuectl", "import", "--write", '),
    r"# on (each|[a-d])\n.*|hostname -s": ("tests/fleet/setup.py", "sections(PAGE.read_text())"),
    r"(https://)?[abc]\.example\.org[/:].*": ("tests/fleet/setup.py", "sections(PAGE.read_text())"),
    r"promtool test rules": (".ci/run", "promtool test rules docs/metrics/alerts.test.yaml"),
}  # fmt: skip
"""Lines that the machine does not run, by whom they are run, and what is to be there for that."""
NOWHERE = {
    r"podman (build|run|exec|logs|stop).*": "Podman fetches images; test_container.py has what is in the container",
    r"(sudoedit|systemctl edit) .*": "a person writes there",
    r"pipx install \.": "it fetches from PyPI; make run installs the same package by pip",
    r"reportbug .*": "it would send mail to Debian",
    r"git switch .*": "it asks the origin of whoever releases",
    r"journalctl -u etcd": "there is no etcd in the machine, and none that is out of order",
    r"cron -n": "an option of cron that there is not here, as the page says",
    r"(psql|sh) -c|test -x /usr/sbin/anacron \|\||systemctl set-property … .*": "a part of a line",
}
"""Lines that nobody runs, and why."""


def shown(path: Path) -> list[str]:
    """What a paper has for a shell: typed in blocks, commands of its jobs, and in its sentences what has arguments."""
    typed = []
    for block in blocks(path.read_text()):
        lines = [line for line, _ in dialogue(block.replace("\\\n", ""))]
        if block.startswith("# on "):  # a script, and the hosts on which it is typed
            typed.append(block)
        elif all(TYPED.match(line) for line in lines):
            typed += [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
    parts = ([FileText("f", file.encode()) for file in files] for files in job_files(path))
    jobs = (job for some in parts for job in read_packed(packed(some, "f"), "f")[0])
    named = [span for span in spans(path.read_text()) if re.match(rf"(?:sudo )?(?:{OF_OTHERS}) \S", span)]
    return [*typed, *(job.command for job in jobs if isinstance(job.command, str)), *named]


def programs(script: str) -> Iterator[str]:
    """The first word of each command, roughly: of what is quoted only substitutions."""
    inner = re.findall(r"\$\(([^()]*)\)", script)
    bare = re.sub(r"\$\([^()]*\)|'[^']*'|\"[^\"]*\"", "Q", script)
    for part in [*inner, *re.split(r"&&|[|;&\n]", bare)]:
        words = part.split()
        while words and (words[0] in SHELL - {"echo", "["} or "=" in words[0]):
            words.pop(0)
        yield from words[:1]


def foreign(path: Path) -> list[str]:
    """Every line, or script of a job, in which another program is."""
    return [line for line in dict.fromkeys(shown(path)) if {*programs(line)} - OURS]


def where(line: str) -> str:
    """By whom it is run if the machine does not, or why it is not."""
    said = {**{pattern: file for pattern, (file, _) in ELSEWHERE.items()}, **NOWHERE}
    return next((whom for pattern, whom in said.items() if re.fullmatch(pattern, line, re.S)), "")
