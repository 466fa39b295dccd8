/* Stands in the place of /bin/sh, below DIRECTORY: appends to `starts` how it was started, and ends; where `through`
   exists it runs the command by the real shell, too, and has the exit status.  `clock` holds the time, else the kernel.

   A record is a row of texts, each with a NUL behind it, as starts.py reads them.  */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define INSIDE "TWIN_INSIDE"
extern char **environ;
static char record[1 << 20];
static size_t length;

static void put(const void *text, size_t size)
{
    if (length + size + 1 > sizeof record)
        abort();
    memcpy(record + length, text, size);
    length += size;
    record[length++] = 0;
}

static void number(long value)
{
    char text[32];
    put(text, snprintf(text, sizeof text, "%ld", value));
}

static void row(char **texts)
{
    long count = 0;
    while (texts[count])
        count++;
    number(count);
    for (; *texts; texts++)
        put(*texts, strlen(*texts));
}

static long now(void)
{
    long clock = time(NULL);
    int file = open(DIRECTORY "/clock", O_RDONLY);
    if (file >= 0 && read(file, &clock, sizeof clock) != sizeof clock)
        abort();
    close(file);
    return clock;
}

static void identity(void)
{
    gid_t groups[NGROUPS_MAX];
    char text[4096] = "", directory[PATH_MAX];
    int count = getgroups(NGROUPS_MAX, groups);
    number(geteuid());
    number(getegid());
    for (int i = 0; i < count; i++)
        sprintf(text + strlen(text), "%s%u", i ? "," : "", groups[i]);
    put(text, strlen(text));
    if (!getcwd(directory, sizeof directory))
        abort();
    put(directory, strlen(directory));
}

static void manners(void)
{
    mode_t mask = umask(0);
    umask(mask);
    number(mask);
    number(getpriority(PRIO_PROCESS, 0));
    number(getsid(0) == getpid());
    long open_files = 0;
    DIR *list = opendir("/proc/self/fd");
    while (list && readdir(list))
        open_files++;
    closedir(list);
    number(open_files - 3 - 3); /* but ".", "..", the list's own, and the three that all have */
}

static void standard_input(void)
{
    static char text[1 << 18];
    size_t size = 0;
    ssize_t got;
    while ((got = read(0, text + size, sizeof text - size)) > 0)
        size += got;
    put(text, size);
}

static int through(char **words)
{
    char shell[] = DIRECTORY "/sh";
    int status;
    pid_t child = fork();
    if (!child) {
        setenv(INSIDE, "1", 1);
        execv(shell, words);
        _exit(126);
    }
    if (waitpid(child, &status, 0) != child)
        abort();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **words)
{
    if (getenv(INSIDE) || count < 3 || strcmp(words[1], "-c")) {
        execv(DIRECTORY "/sh", words);
        return 126;
    }
    number(now());
    identity();
    manners();
    row(words);
    row(environ);
    int is_run = !access(DIRECTORY "/through", F_OK), status = 0;
    if (is_run) {
        put("", 0);
        status = through(words);
    } else
        standard_input();
    number(status);
    int file = open(DIRECTORY "/starts", O_WRONLY | O_APPEND);
    if (file < 0 || write(file, record, length) != (ssize_t)length)
        abort();
    return status;
}
