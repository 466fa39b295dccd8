/* become PLAN REPORT: become the user of a run, and exec its command.
 *
 * A supervisor starts this program with posix_spawn, as root, in the job's cgroup and session, with the job's streams and
 * an empty environment. A fork of the supervisor would cost more (docs/performance.md).
 *
 * PLAN is a descriptor of a file with strings, each ended by a NUL byte: FORMAT, uid, gid, groups (numbers and commas),
 * directory, a warning, program, number of arguments, the arguments, and the environment (become.py). If the warning is
 * not empty, the command runs in / if the user can't enter the directory.
 *
 * REPORT is a pipe to the supervisor (start_report.py): the steps that a file system may block, the warning, and the step
 * that failed with its errno. The exec closes it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FORMAT "1" /* the supervisor may be older or newer than this program */
#define JOIN_SESSION_KEYRING 1 /* linux/keyctl.h */
#define MOST_GROUPS 65536      /* NGROUPS_MAX */

static int report;
static char *next, *end;

static void tell(const char *form, ...)
{
    va_list values;
    va_start(values, form);
    vdprintf(report, form, values);
    va_end(values);
}

static _Noreturn void fail(const char *step)
{
    int number = errno;
    if (write(report, "", 1) == 1)
        tell("%d\n%s\n", number, step);
    _exit(127);
}

static _Noreturn void malformed(void)
{
    errno = EPROTO;
    fail("plan");
}

/* Map the plan. Its last byte must be NUL, so that every string in it ends. */
static void read_plan(int file)
{
    struct stat status;
    if (fstat(file, &status) < 0 || status.st_size <= 0)
        malformed();
    next = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (next == MAP_FAILED)
        fail("start");
    end = next + status.st_size;
    if (end[-1] != '\0')
        malformed();
}

static char *string(void)
{
    if (next == end)
        malformed();
    char *found = next;
    next += strlen(next) + 1;
    return found;
}

/* Parse a number at *text, and move *text behind it. */
static unsigned long number_at(char **text)
{
    char *first = *text;
    if (*first < '0' || *first > '9')
        malformed();
    errno = 0;
    unsigned long found = strtoul(first, text, 10);
    if (errno != 0 || found > 0xFFFFFFFE) /* the highest number means "no change" to the kernel */
        malformed();
    return found;
}

static unsigned long number(void)
{
    char *text = string();
    unsigned long found = number_at(&text);
    if (*text != '\0')
        malformed();
    return found;
}

static size_t read_groups(gid_t *groups)
{
    size_t count = 0;
    for (char *text = string(); *text != '\0'; text += *text == ',') {
        if (count == MOST_GROUPS)
            malformed();
        groups[count++] = (gid_t)number_at(&text);
        if (*text != ',' && *text != '\0')
            malformed();
    }
    return count;
}

/* Return the next `count` strings as a list that ends with NULL. */
static char **strings(size_t count)
{
    char **list = calloc(count + 1, sizeof *list);
    if (list == NULL)
        fail("start");
    for (size_t place = 0; place < count; place++)
        list[place] = string();
    return list;
}

static size_t remaining(void)
{
    size_t count = 0;
    for (char *text = next; text < end; text += strlen(text) + 1)
        count++;
    return count;
}

static void enter(const char *directory, const char *warning)
{
    tell("\1chdir %s\n", directory);
    if (chdir(directory) == 0)
        return;
    if (*warning == '\0')
        fail("chdir");
    tell("%s: %s; it ran in /\n", warning, strerror(errno));
    if (chdir("/") < 0)
        fail("chdir");
}

int main(int count, char **words)
{
    static gid_t groups[MOST_GROUPS];
    if (count != 3 || fcntl(report = atoi(words[2]), F_SETFD, FD_CLOEXEC) < 0)
        return 127;
    read_plan(atoi(words[1]));
    close(atoi(words[1]));

    if (strcmp(string(), FORMAT) != 0)
        malformed();
    uid_t uid = (uid_t)number();
    gid_t gid = (gid_t)number();
    size_t belongs = read_groups(groups);
    char *directory = string(), *warning = string(), *program = string();
    size_t given = number();
    if (given == 0 || given > remaining())
        malformed();
    char **arguments = strings(given), **environment = strings(remaining());

    if (syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS && errno != EPERM)
        fail("keyring"); /* ENOSYS, EPERM: no keyrings, or a container forbids them */
    if (setgroups(belongs, groups) < 0)
        fail("setgroups");
    if (setresgid(gid, gid, gid) < 0)
        fail("setgid");
    if (setresuid(uid, uid, uid) < 0)
        fail("setuid");
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* until the exec, the memory is ours, whatever fs.suid_dumpable is */

    enter(directory, warning);
    tell("\1exec %s\n", arguments[0]);
    execve(program, arguments, environment);
    fail("exec");
}
