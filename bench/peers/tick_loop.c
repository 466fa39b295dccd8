/* The least that can be late: sleeps until each full second, COUNT times, starts PROGRAM, and waits for it.
 *
 *     tick_loop COUNT PROGRAM [ARG...]
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    struct timespec due;
    clock_gettime(CLOCK_REALTIME, &due);
    due.tv_nsec = 0;
    for (int left = atoi(argv[1]); left > 0; left--) {
        pid_t pid;
        int status;
        due.tv_sec++;
        while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL))
            ;
        if (posix_spawn(&pid, argv[2], NULL, NULL, argv + 2, environ) || waitpid(pid, &status, 0) != pid || status)
            return 1;
    }
    return 0;
}
