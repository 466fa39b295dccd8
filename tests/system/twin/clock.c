/* The clock of the real cron, preloaded: it stands still while anything runs, and goes on by as much as cron sleeps.

   It begins at the second TWIN_FROM; at TWIN_UNTIL cron ends, or after TWIN_FOR seconds of sleep.  After each of those
   in TWIN_STEPS, "SECONDS:STEP SECONDS:STEP ...", it is set by a step.  Its time is in DIRECTORY/clock for those that it starts.
   The second of each start is written to DIRECTORY/decided; where DIRECTORY/visits lists minutes, those of other minutes
   are only that: cron is told that it has started a process, but there is none.  */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long *clock_now, until, lasts, *visits, visits_count = -1, slept;
static char *steps = "";
static int decided;
static pid_t daemon_pid;

static __attribute__((constructor)) void begin(void)
{
    int file = open(DIRECTORY "/clock", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || ftruncate(file, sizeof *clock_now))
        abort();
    clock_now = mmap(NULL, sizeof *clock_now, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (clock_now == MAP_FAILED)
        abort();
    close(file);
    *clock_now = atol(getenv("TWIN_FROM"));
    until = getenv("TWIN_UNTIL") ? atol(getenv("TWIN_UNTIL")) : LONG_MAX;
    lasts = getenv("TWIN_FOR") ? atol(getenv("TWIN_FOR")) : LONG_MAX;
    daemon_pid = getpid();
    steps = getenv("TWIN_STEPS") ? getenv("TWIN_STEPS") : steps;
    unsetenv("LD_PRELOAD"); /* whatever cron itself executes, such as sendmail, has the machine's clock */
    decided = open(DIRECTORY "/decided", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    file = open(DIRECTORY "/visits", O_RDONLY);
    if (file >= 0) {
        visits_count = lseek(file, 0, SEEK_END) / sizeof *visits;
        visits = mmap(NULL, visits_count * sizeof *visits + 1, PROT_READ, MAP_PRIVATE, file, 0);
        close(file);
    }
}

static int compare(const void *left, const void *right)
{
    long a = *(const long *)left, b = *(const long *)right;
    return (a > b) - (a < b);
}

pid_t fork(void)
{
    static pid_t (*next)(void);
    if (!next)
        next = dlsym(RTLD_NEXT, "fork");
    if (getpid() != daemon_pid)
        return next();
    if (write(decided, clock_now, sizeof *clock_now) != sizeof *clock_now)
        abort();
    long minute = *clock_now - *clock_now % 60;
    if (visits_count >= 0 && !bsearch(&minute, visits, visits_count, sizeof minute, compare))
        return 0x3fffffff;
    return next();
}

time_t time(time_t *told)
{
    if (told)
        *told = *clock_now;
    return *clock_now;
}

unsigned sleep(unsigned seconds)
{
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    while (seconds--) {
        char *rest;
        ++*clock_now;
        if (++slept == strtol(steps, &rest, 10) && *rest == ':')
            *clock_now += strtol(rest + 1, &steps, 10);
        if (*clock_now >= until || slept >= lasts)
            _exit(0);
    }
    return 0;
}
