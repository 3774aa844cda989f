/* Preloaded by every program of the emulated system: one whose environment was made anew, without QEMU_CPU, begins
   once more with it. So everything runs on the same processor, whoever started it. */
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;

__attribute__((constructor)) static void choose(int argc, char **argv, char **env)
{
    (void)argc, (void)env;
    if (getenv("QEMU_CPU") != NULL)
        return;
    setenv("QEMU_CPU", PROCESSOR, 1);
    execve((const char *)getauxval(AT_EXECFN), argv, environ);
}
