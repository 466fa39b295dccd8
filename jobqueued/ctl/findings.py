"""The table of findings: each kind of problem that users see, by its code, with a wrong and a right example.

`jobqueuectl check --explain` and docs/check.md come from this table. A code is never reused for another finding.
"""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple

GROUPS = {
    "JQ1": "The file and its YAML",
    "JQ2": "Keys and values",
    "JQ3": "Schedules",
    "JQ4": "The queue: claims and dependencies",
    "JQ5": "The host: files, users, programs",
    "JQ6": "Cron's tables",
}
SEVERITIES = {
    "error": "the file, or the line of a table, is refused",
    "warning": "it is accepted, and hardly meant or in vain",
    "note": "it works as it stands; only check tells it, and it is no reason to fail",
}


class Finding(NamedTuple):
    """One kind of problem: severity, name, meaning and what to do.

    `wrong` and `right` are job files, or another file of the host (`file`); "" if no file can show the problem. `given`
    describes the state of the host.
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
    Finding("JQ101", "error", "the text is not YAML",
        "The parser can't make sense of the text from this place on. The message says what was found there and "
        "what to write; most often a quote or a bracket is not closed, or a value has a colon, a # or a quote in "
        "it and needs quotes around it.",
        "jobs:\n"
        "  backup:\n"
        '    command: "/usr/local/bin/backup\n',
        "jobs:\n"
        "  backup:\n"
        '    command: "/usr/local/bin/backup"\n'),
    Finding("JQ102", "error", "the text is not UTF-8, or has characters that no text has",
        "A job file is UTF-8 text without a byte order mark, control characters or line ends of other systems, "
        "as these are read differently by different programs.",
        "\ufeffjobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup\n",
        ENTRY),
    Finding("JQ103", "error", "more than a file may have",
        "A file has bounds, so that none can keep the daemon busy: 1 MiB, 1,000 jobs, 500 cron expressions of "
        "one job, 32 levels of nesting, 100,000 values. Divide it.",
        f"jobs: {'[' * 40}{']' * 40}\n",
        "jobs: {}\n"),
    Finding("JQ104", "error", "a key that is there twice",
        "Other readers of YAML keep the last of two equal keys and say nothing; here both are told. Where two "
        "values are meant, write a list.",
        ENTRY + ("    timeout: 1h\n"
         "    timeout: 2h\n"),
        ENTRY + "    timeout: 2h\n"),
    Finding("JQ105", "error", "a part of YAML that job files do without",
        "Tags, directives, merge keys, several documents in one file, keys that are lists, and anchors that no "
        "alias uses are refused: most of them were meant as text, and need quotes.",
        "jobs:\n"
        "  backup:\n"
        "    command: !important /usr/local/bin/backup\n",
        "jobs:\n"
        "  backup:\n"
        "    command: '!important /usr/local/bin/backup'\n"),
    Finding("JQ106", "error", "a template or a merge that was not finished",
        "A file with {{ … }} was not rendered by Jinja or its like, one with conflict markers was not merged.",
        "jobs:\n"
        "  backup:\n"
        "    command: {{ backup_command }}\n",
        ENTRY),
    Finding("JQ107", "error", "a line of a crontab in a job file",
        "A crontab is no job file. Write the key for each part of the line, or let `jobqueuectl import` do it; "
        "`jobqueuectl crontab` and files in /etc/cron.d take such lines as they are.",
        "0 2 * * * /usr/local/bin/backup\n",
        "jobs:\n"
        "  backup:\n"
        '    schedule: "0 2 * * *"\n'
        "    command: /usr/local/bin/backup\n"),
    Finding("JQ108", "warning", "text that is taken for a comment",
        "Behind a space a # begins a comment, also in a command. Quote the value if the text belongs to it; "
        "write a space behind the # if it is a comment.",
        "jobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup #42\n",
        "jobs:\n"
        "  backup:\n"
        "    command: '/usr/local/bin/backup #42'\n"),
    Finding("JQ109", "error", "an empty drop-in",
        "A drop-in without a text is rather one that a full disk left than one that is to say nothing.",
        "",
        "{}\n",
        "backup.yaml.d/10-site.yaml", "backup.yaml has a job backup"),
    Finding("JQ110", "warning", "a drop-in that takes away what is not there",
        "`key:` without a value in a drop-in takes the key away that the file has. Here the file, and the "
        "drop-ins before this one, have no such key: maybe it is spelled otherwise there.",
        "jobs:\n"
        "  backup:\n"
        "    timeout:\n",
        "jobs:\n"
        "  backup:\n"
        "    timeout: 2h\n",
        "backup.yaml.d/10-site.yaml", "backup.yaml has a job backup without a timeout"),
    Finding("JQ111", "error", "a tab where YAML wants spaces",
        "YAML indents with spaces only. `check --fix` replaces the tabs at the begin of lines.",
        "jobs:\n"
        "\tbackup:\n"
        "\t\tcommand: /usr/local/bin/backup\n",
        ENTRY),
    Finding("JQ112", "error", "an empty file that had jobs",
        "An empty file is what a full disk or an editor that was interrupted leaves, so its jobs go on. `jobs: "
        "{}` says that they are to go. The daemon tells it, as only it knows what the file had."),
    # ── keys and values ──
    Finding("JQ201", "error", "a key that there is not",
        "The key is spelled otherwise here, or belongs elsewhere; the message names it where there is one of "
        "that meaning. jobqueue.d(5) has all keys. `check --fix` renames a key that has one near spelling or one "
        "translation.",
        "jobs:\n"
        "  backup:\n"
        "    comand: /usr/local/bin/backup\n",
        ENTRY),
    Finding("JQ202", "error", "a value that is not accepted",
        "The message says what was found and what is accepted, and in front of brackets what was probably meant. "
        "`check --fix` writes that where there is exactly one such spelling.",
        ENTRY + "    timeout: 90min\n",
        ENTRY + "    timeout: 90m\n"),
    Finding("JQ203", "error", "a job without a command",
        "Each job has a `command`, its own or that of `defaults`.",
        "jobs:\n"
        "  backup:\n"
        '    schedule: "0 2 * * *"\n',
        "jobs:\n"
        "  backup:\n"
        '    schedule: "0 2 * * *"\n'
        "    command: /usr/local/bin/backup\n"),
    Finding("JQ204", "warning", "shell syntax in a list",
        "A list is handed to the program word by word; no shell reads it, so |, &&, > and $HOME are arguments "
        "like any other. Write the command as a text, which a shell reads, or without what only a shell "
        "understands.",
        "jobs:\n"
        "  count:\n"
        '    command: [cat, $HOME/inbox, "|", wc]\n',
        "jobs:\n"
        "  count:\n"
        '    command: cat "$HOME/inbox" | wc\n'),
    Finding("JQ205", "error", "values that exclude or need one another",
        "Two keys say different things about the same, or one makes no sense alone: a lock has a name or a path, "
        "units or a mode, and is named once; a resource is no lock; a job of the fleet knows no boots.",
        ENTRY + "    locks: [{name: disk, units: 2, mode: shared}]\n",
        ENTRY + "    locks: [{name: disk, mode: shared}]\n"),
    Finding("JQ206", "warning", "a key without effect",
        "It needs another key beside it, which is not there: `seconds` a `schedule`, `anchor` an `every`, "
        "`notify` an address.",
        ENTRY + '    seconds: "*/10"\n',
        ENTRY + ('    schedule: "* * * * *"\n'
         '    seconds: "*/10"\n')),
    Finding("JQ207", "warning", "a variable that only cron obeys",
        "In a crontab MAILTO, CRON_TZ, SHELL and RANDOM_DELAY tell cron what to do. In a job file they are "
        "variables of the command like any other, and a key does what they do.",
        ENTRY + "    environment: {CRON_TZ: Asia/Tokyo}\n",
        ENTRY + "    timezone: Asia/Tokyo\n"),
    Finding("JQ208", "warning", "lines that become one",
        "YAML makes one line of a value that is written on several, so the shell gets one command with all of "
        "their words. Behind | lines stay apart.",
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
    Finding("JQ209", "warning", "an escape in double quotes",
        "In double quotes YAML itself reads \\t, \\n and their like, so the shell does not see them. In single "
        "quotes, and behind |, they stay.",
        "jobs:\n"
        "  backup:\n"
        "    command: \"printf 'a\\tb'\"\n",
        "jobs:\n"
        "  backup:\n"
        "    command: |\n"
        "      printf 'a\\tb'\n"),
    Finding("JQ210", "warning", "a variable that nothing expands",
        "Values of `environment` are taken as they are: no shell reads them, so $PATH, $HOME and ~ stay what "
        "they are.",
        ENTRY + '    environment: {PATH: "$PATH:/opt/bin"}\n',
        ENTRY + '    environment: {PATH: "/usr/bin:/bin:/opt/bin"}\n'),
    Finding("JQ211", "warning", "a command in the background",
        "With & at its end the shell ends at once, and with it the run; what goes on behind it is killed. The "
        "daemon runs commands in the background anyway.",
        "jobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup --all &\n",
        "jobs:\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup --all\n"),
    Finding("JQ212", "warning", "a percent sign as in a crontab",
        "In a crontab % must be written \\%. In a job file % is a plain character, and the shell gets the "
        "backslash.",
        "jobs:\n"
        "  backup:\n"
        "    command: date +\\%F\n",
        "jobs:\n"
        "  backup:\n"
        "    command: date +%F\n"),
    Finding("JQ213", "error", "an id that another file has",
        "The id of a job is unique on the host. The file that had it first keeps it.",
        ENTRY,
        "jobs:\n"
        "  backup-home:\n"
        "    command: /usr/local/bin/backup\n",
        "zzz.yaml", "backup.yaml has a job backup"),
    Finding("JQ214", "error", "what this file may not have",
        "Files of users may not have what burdens others, unless root permits it in jobqueued.yaml; and a few "
        "keys are for files of users, or for those of the host, only. `users: {allow: …, deny: …}` bars whole files "
        "and crontabs.",
        ENTRY + "    on: {path: ~/*.csv}\n",
        ENTRY + "    on: {path: /srv/*.csv}\n"),
    Finding("JQ215", "error", "a key of a later version",
        "The name is taken for what a later version will do; nothing carries it out yet.",
        ENTRY + "    retention: {runs: 10}\n",
        ENTRY),
    Finding("JQ216", "warning", "a space that is none",
        "A no-break space, as web pages and word processors have it, looks like a space and is a part of the word to "
        "a shell and in a path.",
        ENTRY + "    tags: [night\u00a0run]\n",
        ENTRY + "    tags: [night run]\n"),
    Finding("JQ217", "warning", "an event that is named like the end of a run",
        "Somebody has to emit an event, and the end of a run emits none. A job that is to start at the end of another "
        "job's run names that job. `notify` names the people to notify of failures.",
        ENTRY + "    on: {event: failure}\n",
        ENTRY + "    on: {job: dump, result: failure}\n  dump: {command: /usr/local/bin/backup}\n"),
    # ── schedules ──
    Finding("JQ301", "error", "a schedule that is not understood",
        "The grammar is that of crontab(5), with H, L and #. The message names the field, and what to write in "
        "it.",
        ENTRY + '    schedule: "0 25 * * *"\n',
        ENTRY + '    schedule: "0 23 * * *"\n'),
    Finding("JQ302", "error", "a schedule that no time matches",
        "No date of 40 years matches, such as 31 February, or the clock change of the zone skips each match. "
        "Cron takes such a line and never runs it.",
        ENTRY + '    schedule: "0 2 31 2 *"\n',
        ENTRY + '    schedule: "0 2 L 2 *"\n'),
    Finding("JQ303", "warning", "a schedule that is rarely due",
        "More than a year goes by without a start, as of 29 February, or the fifth Monday of February. It is "
        "right if it is meant.",
        ENTRY + '    schedule: "0 2 29 2 *"\n',
        ENTRY + '    schedule: "0 2 L 2 *"\n'),
    Finding("JQ304", "warning", "a step wider than its range",
        "*/45 in the minute field matches minutes 0 and 45, not each 45th minute; a step above the width of its "
        "range matches its first value only. For elapsed time there is `every`.",
        ENTRY + '    schedule: "*/90 * * * *"\n',
        ENTRY + "    every: 90m\n"),
    Finding("JQ305", "warning", "an instant that is past",
        "`at` names one instant. If the job has not run by now, it never will.",
        ENTRY + "    at: 2020-01-31T02:00\n",
        ENTRY + "    at: 2190-01-31T02:00\n"),
    Finding("JQ306", "note", "a time that a clock change touches",
        "Of the next two changes of the clock in the job's zone, one skips or repeats a time at which it is due. "
        "The note says when that is, and what the daemon does then: `dst: cron`, the default, starts a job at a "
        "fixed time once. Where another rule is meant, see `dst` in jobqueue.d(5); a time that no change "
        "touches, or UTC, needs none.",
        ENTRY + ('    schedule: "30 2 * * *"\n'
         "    timezone: Europe/Berlin\n"),
        ENTRY + ('    schedule: "30 4 * * *"\n'
         "    timezone: Europe/Berlin\n")),
    Finding("JQ307", "note", "many jobs that start together",
        "Ten or more jobs start at the same instant, most of them at minute 0 because people write that. They "
        "slow one another down. `spread` moves each of them by a time of its own, which stays the same; so does "
        "H in a field.",
        "defaults:\n"
        "  command: /usr/local/bin/backup\n"
        '  schedule: "0 2 * * *"\n'
        "jobs: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}, j: {}}\n",
        "defaults:\n"
        "  command: /usr/local/bin/backup\n"
        '  schedule: "0 2 * * *"\n'
        "  spread: 15m\n"
        "jobs: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}, j: {}}\n"),
    Finding("JQ308", "warning", "runs that take longer than the time between them",
        "By the newest records, where they can be read, a run usually takes longer than the time until the next "
        "one is due. `overlap` decides what becomes of the next: it waits, is skipped, or replaces the live one."),
    # ── the queue ──
    Finding("JQ401", "warning", "a claim for more than there is",
        "The job asks for more CPU, memory or units than this host has for jobs, or for a fleet, and this host is in "
        "none, so none of its runs can ever start: it is Invalid. Ask for less, or say in jobqueued.yaml what there "
        "is.",
        ENTRY + "    resources: {memory: 900T}\n",
        ENTRY + "    resources: {memory: 1M}\n"),
    Finding("JQ402", "warning", "a dependency on a job that there is not",
        "Nothing new of the job comes due until there is a job of that id.",
        ENTRY + "    dependencies: [rotate]\n",
        "jobs:\n"
        "  rotate:\n"
        "    command: 'true'\n"
        "  backup:\n"
        "    command: /usr/local/bin/backup\n"
        "    dependencies: [rotate]\n"),
    Finding("JQ403", "error", "a circle of dependencies",
        "Each of these jobs waits for another of them, so none would ever start. Take one of the dependencies "
        "away.",
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
    Finding("JQ404", "warning", "a part of a circle of dependencies",
        "The job waits, by way of jobs that the daemon has, for itself. Nothing new of it comes due."),
    Finding("JQ405", "warning", "a lock that others may hold for ever",
        "A run that wants a lock for itself reserves it, so that whoever shares it ends before it starts. Where "
        "one of them has no `timeout`, the reservation lapses after the `drain` of the waiting run, for as long "
        "again. By the newest records the runs of these jobs share the lock without a pause, and take longer "
        "than that: so the lock may never be free. With a `timeout` for them, or a `drain` that is longer than "
        "they take, it will be."),
    Finding("JQ406", "warning", "a dependency on a job of the fleet",
        "The runs of a job with `scope: fleet` may be on other hosts, of which nobody here hears when they end. "
        "Nothing new of the job that waits for them comes due. Let both be one job, or both of this host.",
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
    Finding("JQ500", "error", "problems of a file that you may not see",
        "Users are told how many problems a file of the host has; root, and the groups of jobqueued.yaml, see "
        "which. It is a warning where none of them is an error."),
    Finding("JQ501", "error", "a file that can't be read",
        "The kernel says why. The daemon goes on with what it read last.",
        file="missing.yaml"),
    Finding("JQ502", "error", "a file or directory that the daemon does not trust",
        "Whoever can write a job file, or a directory above it, can run commands as anybody. So the daemon reads "
        "only regular files that nobody but root and its own user can change or replace.",
        ENTRY,
        ENTRY,
        "jobqueue.d/backup.yaml", "everybody may write the wrong one (chmod o+w)"),
    Finding("JQ503", "warning", "a file that is not read",
        "The daemon reads files whose names end in .yaml or .yml, drop-ins of a file that is there, and of "
        "cron's directories names that cron takes.",
        ENTRY,
        ENTRY,
        "jobqueue.d/backup.YAML", "the right one is named backup.yaml"),
    Finding("JQ504", "warning", "a file that is masked",
        "A link to /dev/null in the place of a job file switches off all files of that name, and so their jobs.",
        file="jobqueue.d/backup.yaml"),
    Finding("JQ505", "warning", "a user or group that there is not",
        "Nothing of the job runs until the host has it.",
        ENTRY + "    user: no-such-user\n",
        ENTRY),
    Finding("JQ506", "warning", "a user as whom the daemon can start nothing",
        "Only a daemon that root starts can start commands as others."),
    Finding("JQ507", "warning", "a program that there is not",
        "The file does not exist, is not executable, or no directory of the job's PATH has it. PATH is that of "
        "the job, not that of your shell.",
        "jobs:\n"
        "  backup:\n"
        "    command: [/nowhere/backup, --all]\n",
        "jobs:\n"
        "  backup:\n"
        "    command: [/bin/sh, -c, 'true']\n"),
    Finding("JQ508", "warning", "a program or environment file that others may change",
        "Others than root and the job's user can write the file, or a directory on the way to it, or own one of "
        "them: so they decide what runs as that user. The message has the commands that mend it.",
        ENTRY,
        ENTRY,
        given="everybody may write the wrong /usr/local/bin/backup (chmod o+w)"),
    Finding("JQ509", "warning", "an environment file that can't be read",
        "Without its `environment_file` the job does not start. It is missing, has a line that is no NAME=VALUE, "
        "or the job's user may not read it: as that user it is read, unless nobody but root can change it.",
        ENTRY + "    environment_file: /nowhere/backup.env\n",
        ENTRY + "    environment_file: /etc/os-release\n"),
    Finding("JQ510", "warning", "a directory that there is not",
        "The `working_directory`, or the directory of a lock file or of a path that is waited for, does not "
        "exist.",
        ENTRY + "    working_directory: /nowhere\n",
        ENTRY + "    working_directory: /\n"),
    Finding("JQ511", "warning", "a limit that is hardly meant",
        "`cpu` counts cores, and the daemon has fewer; or `memory` is less than any program needs.",
        ENTRY + "    resource_limits: {cpu: 500}\n",
        ENTRY + "    resource_limits: {cpu: 50%}\n"),
    Finding("JQ512", "warning", "a limit that this host can't enforce",
        "With `enforce: required` the job does not start. `jobqueuectl doctor` says what is missing."),
    Finding("JQ513", "warning", "a path in a /tmp that is the daemon's own",
        "The unit of the daemon has PrivateTmp=, so it sees nothing of what others put into /tmp and /var/tmp."),
    Finding("JQ514", "warning", "a sender of notices that can't send",
        "The user as whom notices are sent does not exist, or may not start Python."),
    Finding("JQ515", "warning", "a program for notices that can't be started",
        "It is missing, is no program, or its sender may not start it. See docs/notices.md.",
        ENTRY + "    notify: {command: /nowhere/tell}\n",
        ENTRY + "    notify: {command: /bin/true}\n"),
    Finding("JQ516", "warning", "a secret that everybody may read, or its user may not",
        "A file with a password or a key is readable for whoever needs it, and for nobody else.",
        ENTRY + '    notify: {webhook: {url: "https://example.org/hook", secret_file: /nowhere/key}}\n',
        ENTRY + '    notify: {webhook: "https://example.org/hook"}\n'),
    Finding("JQ517", "warning", "the package apprise is missing",
        "`notify: {apprise: …}` needs it: apt install apprise. It is told where the package is not installed."),
    Finding("JQ518", "warning", "a file that is still being written",
        "It is read when its writer has closed it. The daemon tells it."),
    Finding("JQ519", "warning", "settings that are not in force",
        "jobqueued.yaml is read when the daemon starts, and was changed since. Restart that (systemctl restart "
        "jobqueued): runs go on meanwhile."),
    Finding("JQ520", "warning", "a channel of a user's that leads to this host",
        "Webhooks, proxies and pings of users reach no address of this host, of its link, or of a cloud's metadata, "
        "unless `users: {reach: …}` in jobqueued.yaml has it. See docs/users.md."),
    # ── cron's tables ──
    Finding("JQ601", "error", "a line that is not understood",
        "The line is not run; cron refuses the whole table for it, or skips it without a word.",
        "0 2 * * root\n",
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    Finding("JQ602", "error", "a variable that cron can't go by",
        "SHELL and HOME are absolute paths, MAILTO has addresses, RANDOM_DELAY minutes. Lines below it are not "
        "run.",
        "SHELL=bash\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        "SHELL=/bin/bash\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    Finding("JQ603", "warning", "a line without effect",
        "Options (`# jobqueue: {…}`) stand directly above the line of their job; LOGNAME can't be set; MAILFROM of "
        "a user's own table is an address of that user on this host.",
        "# jobqueue: {timeout: 2h}\n"
        "\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        "# jobqueue: {timeout: 2h}\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    Finding("JQ604", "warning", "lines that end as on DOS",
        "Cron takes the carriage return for a part of the command. It is left out here.",
        "0 2 * * * root /usr/local/bin/backup\r\n",
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    Finding("JQ605", "warning", "a line of anacron's that cron runs",
        "/etc/crontab has that directory run already, so the line of /etc/anacrontab is left out."),
    Finding("JQ606", "error", "a key that a line can't have",
        "Options of a line can't say what the line itself says, and those of a user's own table nothing that "
        "takes from others.",
        "# jobqueue: {command: 'true'}\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        "# jobqueue: {timeout: 2h}\n"
        "0 2 * * * root /usr/local/bin/backup\n",
        CRONTAB),
    Finding("JQ607", "error", "an import that would change when a job starts",
        "`jobqueuectl import` compares the due times of a table and of the job file that it would write, and "
        "they differ."),
    Finding("JQ608", "warning", "what an import changes",
        "`jobqueuectl import` can't say it in a job file as it was."),
    Finding("JQ609", "error", "what an import can't take over",
        "`jobqueuectl import` leaves this line to whoever runs it now."),
)}  # fmt: skip
