#include "parts.h"

#include <sys/syscall.h>

interlock_space *space;

void begin(void)
{
    static int count;
    char url[64];
    snprintf(url, sizeof url, "shm:test-%d", count++);
    TRY(interlock_space_open(url, &space));
}

void end(void)
{
    CHECK(unlink(interlock_space_path(space)) == 0);
    interlock_space_close(space);
}

bool says(const char *text)
{
    bool found = strstr(interlock_last_error(), text) != NULL;
    if (!found)
        fprintf(stderr, "last error: %s\n", interlock_last_error());
    return found;
}

bool sleeps(pid_t pid, pid_t thread)
{
    char path[64], text[128] = "";
    long number;
    unsigned long word, operation;
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    return got > 0 && sscanf(text, "%ld %lx %lx", &number, &word, &operation) == 3 && number == SYS_futex &&
           (operation & 0x80) == 0;
}

static void *run_task(void *argument)
{
    task *self = argument;
    self->id = (pid_t)il_thread_id();
    self->returned = self->call(self->argument);
    return NULL;
}

void start(task *self, int (*call)(void *), void *argument)
{
    *self = (task){.call = call, .argument = argument};
    CHECK(pthread_create(&self->thread, NULL, run_task, self) == 0);
}

int result(task *self)
{
    CHECK(pthread_join(self->thread, NULL) == 0);
    return self->returned;
}

int in_thread(int (*call)(void *), void *argument)
{
    task other;
    start(&other, call, argument);
    return result(&other);
}

void start_asleep(task *self, int (*call)(void *), void *argument)
{
    start(self, call, argument);
    AWAIT(self->id != 0 && sleeps(getpid(), self->id));
}

pid_t die_after(int (*call)(void *), void *argument)
{
    signal_pipe called = pipe_new();
    pid_t child = check_fork();
    if (child == 0) {
        TRY(call(argument));
        tell(&called);
        for (;;)
            pause();
    }
    hear(&called);
    check_kill(child);
    pipe_free(&called);
    return child;
}

int in_child(int (*call)(void *), void *argument)
{
    pid_t child = check_fork();
    if (child == 0)
        _exit(-call(argument));
    int status = check_wait(child);
    CHECK(WIFEXITED(status));
    return -WEXITSTATUS(status);
}
