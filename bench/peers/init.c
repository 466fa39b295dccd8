/* The first process of a namespace: starts PROGRAM, and waits for all there is until nothing is left, so that the CPU time
 * of all of it is known to whoever waits for this one.
 *
 *     init PROGRAM [ARG...]
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t pid = argc < 2 ? -1 : fork();
    if (pid == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    if (pid < 0)
        return 1;
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    return 0;
}
