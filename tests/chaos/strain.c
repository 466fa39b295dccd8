/* A host under strain, as the daemon, its launcher and its supervisors find it: a wall clock that is set, and calls of
 * the kernel that fail.  Preloaded (ld.so(8)) into the scheduler, which passes it on to the launcher that it starts; the
 * page that strain.py writes is shared by all of them.
 *
 * The clock: CLOCK_REALTIME is the host's and an offset.  A file's times are those of the offset when it was changed, a
 * timerfd rings by this clock, and is cancelled when it is set, as timerfd_create(2) has it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MOST 1000

enum { TABLES, MEMORY, DISK, FAULTS };                  /* ENFILE, ENOMEM, EIO */

struct page {
    volatile int64_t steps;
    volatile int64_t thousandths[FAULTS];               /* so many of 1,000 calls fail */
    struct { volatile int64_t since, offset; } step[MOST];
};

static struct page *page;
static char *preload, *place;
static uint64_t dice;

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define STATIC_REAL(name) static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("JOBQUEUED_STRAIN");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0)
        return;
    void *found = mmap(NULL, sizeof(struct page), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) {
        page = found;
        asprintf(&place, "JOBQUEUED_STRAIN=%s", name);
        asprintf(&preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
    }
}

static int64_t ns(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

static struct timespec timespec(int64_t t) { return (struct timespec){t / SECOND, t % SECOND}; }

static int64_t offset(void) { int64_t n = page ? page->steps : 0; return n ? page->step[n - 1].offset : 0; }

static int fails(int fault)
{
    if (!page || !page->thousandths[fault])
        return 0;
    if (!dice)
        dice = 88172645463325252ULL ^ ((uint64_t)getpid() << 20);
    dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
    return (int64_t)(dice % 1000) < page->thousandths[fault];
}

/* The clock. */

int clock_gettime(clockid_t clock, struct timespec *found)
{
    STATIC_REAL(clock_gettime);
    int failed = real(clock, found);
    if (!failed && page && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *found = timespec(ns(found) + offset());
    return failed;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *found = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *found)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return found ? (*found = now.tv_sec) : now.tv_sec;
}

static volatile int alarm_fd = -1;
static volatile int64_t seen;

static void *watch(void *unused)
{
    REAL(timerfd_settime);
    int64_t rung = seen;
    const struct itimerspec now = {.it_value = {0, 1}};
    for (;; usleep(10000))
        if (page->steps != rung) {
            rung = page->steps;
            real(alarm_fd, 0, &now, NULL);
        }
    return unused;
}

int timerfd_create(clockid_t clock, int flags)
{
    STATIC_REAL(timerfd_create);
    if (fails(TABLES))
        return errno = ENFILE, -1;
    int made = real(clock, flags);
    if (made >= 0 && page && clock == CLOCK_REALTIME && alarm_fd < 0) {
        sigset_t all, before;
        pthread_t thread;
        alarm_fd = made, seen = page->steps;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_create(&thread, NULL, watch, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return made;
}

int timerfd_settime(int file, int flags, const struct itimerspec *asked, struct itimerspec *before)
{
    STATIC_REAL(timerfd_settime);
    struct itimerspec spec = *asked;
    if (!page || file != alarm_fd || !(flags & TFD_TIMER_ABSTIME))
        return real(file, flags, asked, before);
    int64_t steps = page->steps, was = seen, at = ns(&asked->it_value) - offset();
    seen = steps;
    spec.it_value = timespec(at > 0 ? at : 1);
    if (real(file, flags, &spec, before))
        return -1;
    return steps == was ? 0 : (errno = ECANCELED, -1);
}

ssize_t read(int file, void *data, size_t size)
{
    STATIC_REAL(read);
    ssize_t found = real(file, data, size);
    if (page && file == alarm_fd && found == 8 && page->steps != seen) {
        seen = page->steps;
        return errno = ECANCELED, -1;
    }
    return found;
}

/* Times of files. */

static void shift(struct timespec *time)
{
    for (int64_t n = page ? page->steps : 0; n > 0; n--)
        if (page->step[n - 1].since <= ns(time)) {
            *time = timespec(ns(time) + page->step[n - 1].offset);
            return;
        }
}

#define STAT(name, type, parameters, arguments) \
    int name parameters \
    { \
        STATIC_REAL(name); \
        int failed = real arguments; \
        if (!failed) \
            shift(&found->st_mtim), shift(&found->st_ctim), shift(&found->st_atim); \
        return failed; \
    }

STAT(stat, stat, (const char *path, struct stat *found), (path, found))
STAT(lstat, stat, (const char *path, struct stat *found), (path, found))
STAT(fstat, stat, (int file, struct stat *found), (file, found))
STAT(fstatat, stat, (int at, const char *path, struct stat *found, int flags), (at, path, found, flags))
STAT(stat64, stat64, (const char *path, struct stat64 *found), (path, found))
STAT(lstat64, stat64, (const char *path, struct stat64 *found), (path, found))
STAT(fstat64, stat64, (int file, struct stat64 *found), (file, found))
STAT(fstatat64, stat64, (int at, const char *path, struct stat64 *found, int flags), (at, path, found, flags))

/* No room in the kernel's tables: open files, processes. */

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        STATIC_REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        return fails(TABLES) ? (errno = ENFILE, -1) : real(path, flags, mode); \
    }

OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        STATIC_REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        return fails(TABLES) ? (errno = ENFILE, -1) : real(at, path, flags, mode); \
    }

OPENAT(openat)
OPENAT(openat64)

#define TABLE(type, name, parameters, arguments, fault, number) \
    type name parameters \
    { \
        STATIC_REAL(name); \
        return fails(fault) ? (errno = number, -1) : real arguments; \
    }

TABLE(int, socket, (int domain, int type, int protocol), (domain, type, protocol), TABLES, ENFILE)
TABLE(int, accept4, (int file, struct sockaddr *from, socklen_t *size, int flags), (file, from, size, flags), TABLES, ENFILE)
TABLE(int, pipe2, (int files[2], int flags), (files, flags), TABLES, ENFILE)
TABLE(int, memfd_create, (const char *name, unsigned flags), (name, flags), TABLES, ENFILE)
TABLE(pid_t, fork, (void), (), MEMORY, ENOMEM)

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const words[], char *const environment[])
{
    STATIC_REAL(posix_spawn);
    char **with, *const *launcher;
    size_t size = 0;

    if (fails(MEMORY))
        return ENOMEM;
    for (launcher = words; *launcher && !strstr(*launcher, "/launcher.py"); launcher++)
        ;
    if (!page || !*launcher)
        return real(pid, path, actions, attributes, words, environment);
    while (environment[size])
        size++;
    with = calloc(size + 3, sizeof *with);
    memcpy(with, environment, size * sizeof *with);
    with[size] = preload, with[size + 1] = place;
    int failed = real(pid, path, actions, attributes, words, with);
    free(with);
    return failed;
}

/* A disk with errors. */

static int disk_fails(int file)
{
    struct stat found;
    return page && page->thousandths[DISK] && !fstat(file, &found) && S_ISREG(found.st_mode) && fails(DISK);
}

#define DISK_CALL(type, name, parameters, arguments) \
    type name parameters \
    { \
        STATIC_REAL(name); \
        return disk_fails(file) ? (errno = EIO, -1) : real arguments; \
    }

DISK_CALL(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
DISK_CALL(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
DISK_CALL(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
DISK_CALL(int, fsync, (int file), (file))
DISK_CALL(int, fdatasync, (int file), (file))
