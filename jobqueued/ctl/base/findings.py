"""The table of findings: code → kind of problem, with a wrong and a right example.

`jobqueuectl check --explain` and docs/check.md come from this table. A code is never reused for another finding.
"""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple

GROUPS = {
    "JQ1": "The file and its YAML",
    "JQ2": "Keys and values",
    "JQ3": "Schedules",
    "JQ4": "The queue: claims and dependencies",
    "JQ5": "The host: files, users, programs",
    "JQ6": "Cron's tables",
}
SEVERITIES = {
    "error": "the daemon refuses the file, or ignores the line of a crontab",
    "warning": "the daemon accepts it, but it is probably a mistake or has no effect",
    "note": "it works as written; only `check` reports it, and it does not change the exit status",
}


class FindingKind(NamedTuple):
    """A kind of problem: severity, name, meaning and remedy.

    `wrong` and `right` are the contents of a job file, or of another file (`file`); "" if no file can show the problem.
    `given` describes the host's state in the example.
    """

    code: str
    severity: str
    title: str
    text: str
    wrong: str = ""
    right: str = ""
    file: str = "backup.yaml"
    given: str = ""


CRONTAB = "/etc/cron.d/backup"
ENTRY = "jobs:\n  backup:\n    command: /usr/local/bin/backup\n"

FINDINGS = {finding.code: finding for finding in (
    # ── the file and its YAML ──
    FindingKind("JQ101", "error", "the file is not valid YAML",
        "The parser can't read the file beyond this place. The message shows what it found there and what to write. "
        "Usually a quote or a bracket is not closed, or a value that contains a colon, a # or a quote needs quotes "
        "around it.",
        "jobs:\n"
        "  backup:\n"
        '    command: "/usr/local/bin/backup\n',
        "jobs:\n"
        "  backup:\n"
        '    command: "/usr/local/bin/backup"\n'),
    FindingKind("JQ102", "error", "the file is not UTF-8, or has a forbidden character",
        "A job file is UTF-8 text without a byte order mark, control characters or unusual line ends, because "
        "programs read these in different ways. `check --fix` removes a byte order mark.",
        "\ufeffjobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup\n",
        ENTRY),
    FindingKind("JQ103", "error", "the file exceeds a limit",
        "Limits keep a single file from blocking the daemon: 1 MiB, 1,000 jobs, 500 cron expressions per job, 32 "
        "levels of nesting, 100,000 values. The message shows the limit. Split the file or shorten the list.",
        f"jobs: {'[' * 40}{']' * 40}\n",
        "jobs: {}\n"),
    FindingKind("JQ104", "error", "a duplicate key",
        "Other YAML parsers silently use the last of two equal keys. The daemon refuses the file, because it can't "
        "know which one you meant. Remove one; if you meant both values, write a list.",
        ENTRY + ("    timeout: 1h\n"
         "    timeout: 2h\n"),
        ENTRY + "    timeout: 2h\n"),
    FindingKind("JQ105", "error", "a YAML feature that job files do not support",
        "Tags, directives, merge keys (<<), several documents in one file, lists or mappings as keys, and unused "
        "anchors are refused. Usually the value was meant as plain text: put it in quotes.",
        "jobs:\n"
        "  backup:\n"
        "    command: !important /usr/local/bin/backup\n",
        "jobs:\n"
        "  backup:\n"
        "    command: '!important /usr/local/bin/backup'\n"),
    FindingKind("JQ106", "error", "an unrendered template or an unfinished merge",
        "{{ … }} shows that no template engine, such as Jinja, rendered the file. Conflict markers (<<<<<<<) show "
        "that git left a conflict in it. Render or merge the file first.",
        "jobs:\n"
        "  backup:\n"
        "    command: {{ backup_command }}\n",
        ENTRY),
    FindingKind("JQ107", "error", "a crontab line in a job file",
        "A job file is YAML. Write a key for each part of the line, or convert the crontab with `jobqueuectl import`. "
        "To keep the line unchanged, put it into a file in /etc/cron.d, or into your crontab with `jobqueuectl "
        "crontab`.",
        "0 2 * * * /usr/local/bin/backup\n",
        "jobs:\n"
        "  backup:\n"
        '    schedule: "0 2 * * *"\n'
        "    command: /usr/local/bin/backup\n"),
    FindingKind("JQ108", "warning", "text that YAML reads as a comment",
        "After a space, # starts a comment, even inside a command. If the text belongs to the value, put the whole "
        "value in quotes. If it is a comment, write a space after the #.",
        "jobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup #42\n",
        "jobs:\n"
        "  backup:\n"
        "    command: '/usr/local/bin/backup #42'\n"),
    FindingKind("JQ109", "error", "an empty drop-in",
        "An empty drop-in is probably the leftover of a full disk, so the daemon refuses it. For a drop-in that "
        "changes nothing, write {}.",
        "",
        "{}\n",
        "backup.yaml.d/10-site.yaml", "backup.yaml has a job backup"),
    FindingKind("JQ110", "warning", "a drop-in that removes a missing key",
        "In a drop-in, `key:` without a value removes this key. Neither the file nor an earlier drop-in has the key, "
        "so there is nothing to remove. Check the spelling.",
        "jobs:\n"
        "  backup:\n"
        "    timeout:\n",
        "jobs:\n"
        "  backup:\n"
        "    timeout: 2h\n",
        "backup.yaml.d/10-site.yaml", "backup.yaml has a job backup without a timeout"),
    FindingKind("JQ111", "error", "a tab where YAML needs spaces",
        "YAML indents with spaces only. `check --fix` replaces tabs at the start of a line.",
        "jobs:\n"
        "\tbackup:\n"
        "\t\tcommand: /usr/local/bin/backup\n",
        ENTRY),
    FindingKind("JQ112", "error", "an empty file that had jobs",
        "A full disk or an interrupted editor can leave an empty file, so the daemon keeps the jobs that it read "
        "last. To remove all jobs, write `jobs: {}`. Only the daemon reports this, because only it knows which jobs "
        "the file had."),
    # ── keys and values ──
    FindingKind("JQ201", "error", "an unknown key",
        "The key is misspelled or belongs elsewhere. If another key probably fits, the message names it. "
        "jobqueue.d(5) lists all keys. `check --fix` renames the key if exactly one key is similar, or if other "
        "programs use this name for one of our keys.",
        "jobs:\n"
        "  backup:\n"
        "    comand: /usr/local/bin/backup\n",
        ENTRY),
    FindingKind("JQ202", "error", "a value that is not accepted",
        "The message shows the value and what the key accepts. If it can guess what you meant, the guess comes first, "
        "before the parentheses. `check --fix` writes the guess if only one is possible.",
        ENTRY + "    timeout: 90min\n",
        ENTRY + "    timeout: 90m\n"),
    FindingKind("JQ203", "error", "a job without a command",
        "Each job needs a `command`, either its own or the one in `defaults`.",
        "jobs:\n"
        "  backup:\n"
        '    schedule: "0 2 * * *"\n',
        "jobs:\n"
        "  backup:\n"
        '    schedule: "0 2 * * *"\n'
        "    command: /usr/local/bin/backup\n"),
    FindingKind("JQ204", "warning", "shell syntax in a list",
        "The program gets each word of a list as an argument. No shell reads the list, so |, &&, > and $HOME have no "
        "special meaning. If the command needs a shell, write it as one string.",
        "jobs:\n"
        "  count:\n"
        '    command: [cat, $HOME/inbox, "|", wc]\n',
        "jobs:\n"
        "  count:\n"
        '    command: cat "$HOME/inbox" | wc\n'),
    FindingKind("JQ205", "error", "keys that conflict, or that need another key",
        "Two keys contradict each other, or one of them needs another key. Examples: a lock has either a name or a "
        "path, and either units or a mode. A job lists each lock once. A name can't be both a lock and a resource. A "
        "fleet job can't start at boot.",
        ENTRY + "    locks: [{name: disk, units: 2, mode: shared}]\n",
        ENTRY + "    locks: [{name: disk, mode: shared}]\n"),
    FindingKind("JQ206", "warning", "a key without effect",
        "This key works only together with another key: `seconds` needs `schedule`, `anchor` needs `every`, `notify` "
        "needs an address.",
        ENTRY + '    seconds: "*/10"\n',
        ENTRY + ('    schedule: "* * * * *"\n'
         '    seconds: "*/10"\n')),
    FindingKind("JQ207", "warning", "a variable that only cron acts on",
        "In a crontab, MAILTO, CRON_TZ, SHELL and RANDOM_DELAY are instructions to cron. In a job file they are only "
        "variables of the command. Use the keys `notify`, `timezone`, `shell` and `spread` instead.",
        ENTRY + "    environment: {CRON_TZ: Asia/Tokyo}\n",
        ENTRY + "    timezone: Asia/Tokyo\n"),
    FindingKind("JQ208", "warning", "several lines that YAML joins",
        "YAML joins the lines of this value into one, so the shell gets one long command. To keep the lines apart, "
        "write | after the key.",
        "jobs:\n"
        "  backup:\n"
        "    command:\n"
        "      cd /\n"
        "      /usr/local/bin/backup\n",
        "jobs:\n"
        "  backup:\n"
        "    command: |\n"
        "      cd /\n"
        "      /usr/local/bin/backup\n"),
    FindingKind("JQ209", "warning", "an escape in double quotes",
        "Inside double quotes, YAML itself replaces \\t, \\n and similar escapes, so the shell does not see them. "
        "Inside single quotes and after |, they stay.",
        "jobs:\n"
        "  backup:\n"
        "    command: \"printf 'a\\tb'\"\n",
        "jobs:\n"
        "  backup:\n"
        "    command: |\n"
        "      printf 'a\\tb'\n"),
    FindingKind("JQ210", "warning", "a variable that nothing expands",
        "No shell reads the values of `environment`, so $PATH, $HOME and ~ stay as written. Write the full "
        "value.",
        ENTRY + '    environment: {PATH: "$PATH:/opt/bin"}\n',
        ENTRY + '    environment: {PATH: "/usr/bin:/bin:/opt/bin"}\n'),
    FindingKind("JQ211", "warning", "a command in the background",
        "With & at the end, the shell exits at once and the run ends. The daemon then kills the command that the "
        "shell left in the background. Remove the &: a run never holds up the daemon.",
        "jobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup --all &\n",
        "jobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup --all\n"),
    FindingKind("JQ212", "warning", "a percent sign escaped as in a crontab",
        "Only a crontab needs \\% for a percent sign. In a job file % is an ordinary character, and the shell would "
        "get the backslash too.",
        "jobs:\n"
        "  backup:\n"
        "    command: date +\\%F\n",
        "jobs:\n"
        "  backup:\n"
        "    command: date +%F\n"),
    FindingKind("JQ213", "error", "a job id that another file already has",
        "A job id is unique on a host. The file that had the id first keeps it, and the other file is refused. Rename "
        "one of the jobs.",
        ENTRY,
        "jobs:\n"
        "  backup-home:\n"
        "    command: /usr/local/bin/backup\n",
        "zzz.yaml", "backup.yaml has a job backup"),
    FindingKind("JQ214", "error", "a key or file that is not allowed here",
        "A user's file may not affect other users, unless root permits it in jobqueued.yaml; the message shows the "
        "setting. A few keys are allowed only in users' files, or only in the host's files. With `users: {allow: …, "
        "deny: …}` root refuses all files and crontabs of some users.",
        ENTRY + "    on: {path: ~/*.csv}\n",
        ENTRY + "    on: {path: /srv/*.csv}\n"),
    FindingKind("JQ215", "error", "a key of a later version",
        "This key is reserved for a later version and does nothing yet. Remove it.",
        ENTRY + "    retention: {runs: 10}\n",
        ENTRY),
    FindingKind("JQ216", "warning", "a special space character",
        "A no-break space, often copied from a web page or a word processor, looks like a space. The shell treats it "
        "as part of the word, and so does a path. Replace it with a plain space.",
        ENTRY + "    tags: [night\u00a0run]\n",
        ENTRY + "    tags: [night run]\n"),
    FindingKind("JQ217", "warning", "an event named like the end of a run",
        "An event occurs only when a user or a program emits it with `jobqueuectl emit`; the end of a run emits none. "
        "To start a job after a run of another job, name that job: `on: {job: dump}`. To notify people of failures, "
        "use `notify`.",
        ENTRY + "    on: {event: failure}\n",
        ENTRY + "    on: {job: dump, result: failure}\n  dump: {command: /usr/local/bin/backup}\n"),
    # ── schedules ──
    FindingKind("JQ301", "error", "an invalid schedule",
        "A schedule has the grammar of crontab(5), plus H, L and #. The message names the wrong field and shows what "
        "to write.",
        ENTRY + '    schedule: "0 25 * * *"\n',
        ENTRY + '    schedule: "0 23 * * *"\n'),
    FindingKind("JQ302", "error", "a schedule that never matches",
        "The schedule matches no date in the next 40 years (31 February, for example), or clock changes skip every "
        "match. Cron accepts such a line but never runs it.",
        ENTRY + '    schedule: "0 2 31 2 *"\n',
        ENTRY + '    schedule: "0 2 L 2 *"\n'),
    FindingKind("JQ303", "warning", "a schedule that is rarely due",
        "More than a year passes before the next start or between two starts, such as for 29 February or a fifth "
        "Monday in February. If the rare start is intended, ignore this warning.",
        ENTRY + '    schedule: "0 2 29 2 *"\n',
        ENTRY + '    schedule: "0 2 L 2 *"\n'),
    FindingKind("JQ304", "warning", "a step wider than its range",
        "A step restarts with each range: */45 in the minute field matches minutes 0 and 45 of each hour, not "
        "every 45 minutes. A step wider than the range matches only the first value. To start a job at a fixed "
        "interval, use `every`.",
        ENTRY + '    schedule: "*/90 * * * *"\n',
        ENTRY + "    every: 90m\n"),
    FindingKind("JQ305", "warning", "an instant in the past",
        "`at` is one instant, and it has passed. If the job did not run at that time, it will probably never run.",
        ENTRY + "    at: 2020-01-31T02:00\n",
        ENTRY + "    at: 2190-01-31T02:00\n"),
    FindingKind("JQ306", "note", "a time that a clock change affects",
        "One of the next two clock changes in the job's zone skips or repeats a due time of the job. The note shows "
        "when, and what the daemon does then. With `dst: cron`, the default, a job with a fixed time starts once. To "
        "change this, see `dst` in jobqueue.d(5). To avoid it, choose a time that no clock change affects, or UTC.",
        ENTRY + ('    schedule: "30 2 * * *"\n'
         "    timezone: Europe/Berlin\n"),
        ENTRY + ('    schedule: "30 4 * * *"\n'
         "    timezone: Europe/Berlin\n")),
    FindingKind("JQ307", "note", "many jobs that start together",
        "Ten or more jobs start at the same instant and slow one another down. `spread` delays each job by its own "
        "fixed time. H in a field also picks a fixed value for each job.",
        "defaults:\n"
        "  command: /usr/local/bin/backup\n"
        '  schedule: "0 2 * * *"\n'
        "jobs: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}, j: {}}\n",
        "defaults:\n"
        "  command: /usr/local/bin/backup\n"
        '  schedule: "0 2 * * *"\n'
        "  spread: 15m\n"
        "jobs: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}, j: {}}\n"),
    FindingKind("JQ308", "warning", "runs that take longer than their interval",
        "The newest readable records show that a run of this job usually takes longer than the time until the next "
        "start. `overlap` decides whether the next run waits, is skipped, or replaces the live run."),
    # ── the queue ──
    FindingKind("JQ401", "warning", "a claim for more than exists",
        "The job requests more CPU, memory or units than this host has for jobs, or needs a fleet although this host "
        "is in none. None of its runs can start: the job is Invalid. Request less, or raise the amounts in "
        "jobqueued.yaml.",
        ENTRY + "    resources: {memory: 900T}\n",
        ENTRY + "    resources: {memory: 1M}\n"),
    FindingKind("JQ402", "warning", "a dependency on a job that does not exist",
        "The job does not become due until a job with this id exists.",
        ENTRY + "    dependencies: [rotate]\n",
        "jobs:\n"
        "  rotate:\n"
        "    command: 'true'\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup\n"
        "    dependencies: [rotate]\n"),
    FindingKind("JQ403", "error", "a cycle of dependencies",
        "Each of these jobs waits for another one of them, so none could ever start. Remove one of the dependencies.",
        "jobs:\n"
        "  a:\n"
        "    command: 'true'\n"
        "    dependencies: [b]\n"
        "  b:\n"
        "    command: 'true'\n"
        "    dependencies: [a]\n",
        "jobs:\n"
        "  a:\n"
        "    command: 'true'\n"
        "  b:\n"
        "    command: 'true'\n"
        "    dependencies: [a]\n"),
    FindingKind("JQ404", "warning", "a dependency that closes a cycle",
        "The job waits for itself through other jobs that the daemon already has, so it does not become due. Remove "
        "one of the dependencies."),
    FindingKind("JQ405", "warning", "a lock that might never be free",
        "A run that needs a lock exclusively reserves it, and starts when all runs that share the lock have ended. If "
        "one of these runs has no `timeout`, the reservation lapses after the waiting run's `drain`, for an equally "
        "long time. In their newest records, the jobs that share this lock hold it without a pause, and for longer "
        "than `drain`. Give these jobs a `timeout`, or set a `drain` that is longer than their runs."),
    FindingKind("JQ406", "warning", "a dependency on a fleet job",
        "Runs of a job with `scope: fleet` may be on other hosts, and this host does not learn when they end. So the "
        "job that waits for them does not become due. Combine both into one job, or remove `scope: fleet`.",
        "jobs:\n"
        "  rotate:\n"
        "    command: 'true'\n"
        "    scope: fleet\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup\n"
        "    dependencies: [rotate]\n",
        "jobs:\n"
        "  rotate:\n"
        "    command: 'true'\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup\n"
        "    dependencies: [rotate]\n",
        given="jobqueued.yaml has `fleet: {etcd: http://127.0.0.1}`"),
    # ── the host ──
    FindingKind("JQ500", "error", "problems in a file that you may not see",
        "You see only the number of problems in one of the host's files. Root and the groups in jobqueued.yaml see "
        "the problems themselves. This is a warning if none of the problems is an error."),
    FindingKind("JQ501", "error", "a file that can't be read",
        "The message shows the kernel's reason. The daemon keeps the jobs that it read last.",
        file="missing.yaml"),
    FindingKind("JQ502", "error", "a file or directory that the daemon does not trust",
        "A user who can write a job file, or a directory above it, can run commands as any user. So the daemon reads "
        "only regular files that no user except root and the daemon's own user can change or replace.",
        ENTRY,
        ENTRY,
        "jobqueue.d/backup.yaml", "any user can write to the file"),
    FindingKind("JQ503", "warning", "a file that is not read",
        "The daemon reads files whose names end in .yaml or .yml, drop-ins of a file that exists, and, in cron's "
        "directories, files with names that cron accepts.",
        ENTRY,
        ENTRY,
        "jobqueue.d/backup.YAML", "the correct name is backup.yaml"),
    FindingKind("JQ504", "warning", "a masked file",
        "A link to /dev/null in place of a job file turns off every file of this name, with all jobs in it.",
        file="jobqueue.d/backup.yaml"),
    FindingKind("JQ505", "warning", "a user or group that does not exist",
        "No run of the job starts until the host has this user or group.",
        ENTRY + "    user: no-such-user\n",
        ENTRY),
    FindingKind("JQ506", "warning", "a user whose commands the daemon can't start",
        "Only a daemon that runs as root can start commands as other users."),
    FindingKind("JQ507", "warning", "a missing program",
        "The file does not exist or is not executable, or no directory in the job's PATH has it. The job's PATH is "
        "not the PATH of your shell.",
        "jobs:\n"
        "  backup:\n"
        "    command: [/nowhere/backup, --all]\n",
        "jobs:\n"
        "  backup:\n"
        "    command: [/bin/sh, -c, 'true']\n"),
    FindingKind("JQ508", "warning", "a program or environment file that others can change",
        "A user other than root and the job's user owns or can write to the file or a directory above it. That user "
        "could change what the job runs. The message shows the commands that fix this.",
        ENTRY,
        ENTRY,
        given="any user can write to /usr/local/bin/backup"),
    FindingKind("JQ509", "warning", "an environment file that can't be read",
        "Without its `environment_file`, the job does not start. The file is missing, has a line that is not "
        "NAME=VALUE, or the job's user may not read it. The daemon reads it as the job's user, unless only root can "
        "change the file.",
        ENTRY + "    environment_file: /nowhere/backup.env\n",
        ENTRY + "    environment_file: /etc/os-release\n"),
    FindingKind("JQ510", "warning", "a missing directory",
        "The `working_directory`, the directory of a lock file, or the directory of an awaited path does not exist.",
        ENTRY + "    working_directory: /nowhere\n",
        ENTRY + "    working_directory: /\n"),
    FindingKind("JQ511", "warning", "an unlikely limit",
        "`cpu` is more cores than the daemon has, or `memory` is less than any program needs.",
        ENTRY + "    resource_limits: {cpu: 500}\n",
        ENTRY + "    resource_limits: {cpu: 50%}\n"),
    FindingKind("JQ512", "warning", "a limit that this host can't enforce",
        "With `enforce: required`, the job does not start. `jobqueuectl doctor` shows what is missing."),
    FindingKind("JQ513", "warning", "a path in the daemon's private /tmp",
        "The daemon's unit has PrivateTmp=, so the daemon does not see what other programs put into /tmp and "
        "/var/tmp."),
    FindingKind("JQ514", "warning", "a sender that can't send notices",
        "The user who sends notices does not exist, or is not allowed to start Python."),
    FindingKind("JQ515", "warning", "a notice program that can't be started",
        "The program is missing or not executable, or the user who sends notices is not allowed to start it. "
        "See docs/notices.md.",
        ENTRY + "    notify: {command: /nowhere/tell}\n",
        ENTRY + "    notify: {command: /bin/true}\n"),
    FindingKind("JQ516", "warning", "a secret with the wrong permissions",
        "Every user may read or write the file, or the user who needs it may not read it. A file with a password or a "
        "key must be readable for that user and for no other.",
        ENTRY + '    notify: {webhook: {url: "https://example.org/hook", secret_file: /nowhere/key}}\n',
        ENTRY + '    notify: {webhook: "https://example.org/hook"}\n'),
    FindingKind("JQ517", "warning", "the package apprise is missing",
        "`notify: {apprise: …}` needs this package on each host that sends such notices: apt install apprise."),
    FindingKind("JQ518", "warning", "a file that is still being written",
        "The daemon reads the file when its writer closes it. Only the daemon reports this."),
    FindingKind("JQ519", "warning", "settings that are not in force",
        "jobqueued.yaml changed after the daemon started, and the daemon reads it only at its start. Restart the "
        "daemon (systemctl restart jobqueued); live runs continue."),
    FindingKind("JQ520", "warning", "a user's channel that leads to this host",
        "Webhooks, proxies and pings of users can't reach an address of this host, of its local link, or of a cloud's "
        "metadata service. Root can permit an address in jobqueued.yaml: `users: {reach: …}`. See docs/users.md."),
    FindingKind("JQ521", "warning", "settings in a directory that others can change",
        "A user other than root and the daemon's user can write to /run, /usr/local/lib or /usr/lib, to a directory "
        "above it, or to jobqueued.yaml.d there. The daemon starts with the settings of the other directories. On "
        "Debian, the group staff can often write to /usr/local/lib. The message shows the command that fixes this. "
        "If /etc itself has such settings, the daemon does not start: see JQ502.",
        "max_running: 2\n",
        "max_running: 2\n",
        "usr/local/lib/jobqueued.yaml", "any user can write to /usr/local/lib"),
    # ── cron's tables ──
    FindingKind("JQ601", "error", "an invalid line",
        "The daemon does not run this line, but runs the other lines. Cron would refuse the whole table, or skip the "
        "line without a message.",
        "0 2 * * root\n",
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    FindingKind("JQ602", "warning", "a variable with an invalid value",
        "Cron itself uses this variable. HOME is an absolute path, RANDOM_DELAY a number of minutes and anacron's "
        "START_HOURS_RANGE a range of hours. Another value has no effect, and the lines below it run, as with Debian's "
        "cron. SHELL is an absolute path, because cron does not look for a shell in PATH. Runs look for another SHELL "
        "in their working directory, and usually fail.",
        "SHELL=bash\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        "SHELL=/bin/bash\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    FindingKind("JQ603", "warning", "a line without effect",
        "Options (`# jobqueue: {…}`) must stand directly above the line of their job. LOGNAME can't be set. MAILTO "
        "is a list of mail addresses, and the other strings in MAILTO get no mail. MAILFROM is a mail address, in a "
        "user's own table an address of this user on this host.",
        "# jobqueue: {timeout: 2h}\n"
        "\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        "# jobqueue: {timeout: 2h}\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    FindingKind("JQ604", "warning", "lines that end as on DOS",
        "To cron, the carriage return belongs to the command. The daemon removes it.",
        "0 2 * * * root /usr/local/bin/backup\r\n",
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    FindingKind("JQ605", "warning", "an anacron line that cron already runs",
        "/etc/crontab already runs this directory, so the daemon ignores the line in /etc/anacrontab."),
    FindingKind("JQ606", "error", "a key that a line can't have",
        "Options can't set what the line itself sets. In a user's own table, they can't set anything that affects "
        "other users.",
        "# jobqueue: {command: 'true'}\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        "# jobqueue: {timeout: 2h}\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    FindingKind("JQ607", "error", "an import that would change when a job starts",
        "`jobqueuectl import` compares the due times of the source with those of the job file. They differ, and the "
        "message shows the first difference. The command does not import the line, unless you add "
        "`--accept-differences`."),
    FindingKind("JQ608", "warning", "an import that changes a setting",
        "A job file can't express this setting of the source exactly. The message shows what differs."),
    FindingKind("JQ609", "error", "a job that can't be imported",
        "`jobqueuectl import` leaves this job out, so its current scheduler keeps running it."),
)}  # fmt: skip
