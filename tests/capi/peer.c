/* A program that tests speak with line by line. Exit status 1 and interlock's words on stderr when something is refused.
 *
 *   peer hold KIND NAME     takes it, says "held", and whom it took it over from; releases it at the next line
 *   peer nest FIRST SECOND  takes one Lock, says "held"; at the next line the other one, says "held" again; ends
 *   peer places             for each line, a space's URL or nothing for the default one: says its file, or "refused"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <interlock.h>

static void check(int code)
{
    if (code == INTERLOCK_OK)
        return;
    fprintf(stderr, "%s\n", interlock_last_error());
    exit(1);
}

static void say(const char *word, int recovered, const interlock_owner *dead)
{
    printf("%s %u\n", word, recovered == 1 ? dead->pid : 0);
    fflush(stdout);
}

static void await_line(void)
{
    char line[64];
    if (fgets(line, sizeof line, stdin) == NULL)
        exit(1);
}

static void hold(interlock_space *space, const char *kind, const char *name)
{
    interlock_owner dead;
    if (strcmp(kind, "Lock") == 0) {
        interlock_lock *lock;
        check(interlock_lock_open(space, name, &lock));
        check(interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0));
        say("held", interlock_lock_recovered(lock, &dead), &dead);
        await_line();
        check(interlock_lock_release(lock));
    } else if (strcmp(kind, "RLock") == 0) {
        interlock_rlock *lock;
        check(interlock_rlock_open(space, name, &lock));
        check(interlock_rlock_acquire(lock, INTERLOCK_FOREVER, 0));
        say("held", interlock_rlock_recovered(lock, &dead), &dead);
        await_line();
        check(interlock_rlock_release(lock));
    } else if (strcmp(kind, "RWLock") == 0) {
        interlock_rwlock *lock;
        check(interlock_rwlock_open(space, name, &lock));
        check(interlock_rwlock_write(lock, INTERLOCK_FOREVER, 0));
        say("held", interlock_rwlock_recovered(lock, &dead), &dead);
        await_line();
        check(interlock_rwlock_end_write(lock));
    } else if (strcmp(kind, "BoundedSemaphore") == 0) {
        interlock_bounded_semaphore *semaphore;
        check(interlock_bounded_semaphore_open(space, name, 1, &semaphore));
        check(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_FOREVER, 0));
        say("held", 0, &dead);
        await_line();
        check(interlock_bounded_semaphore_release(semaphore, 1));
    } else {
        exit(2);
    }
    say("released", 0, &dead);
}

static void nest(interlock_space *space, char *const *names)
{
    for (int i = 0; i < 2; i++) {
        interlock_lock *lock;
        check(interlock_lock_open(space, names[i], &lock));
        check(interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0));
        say("held", 0, NULL);
        if (i == 0)
            await_line();
        interlock_lock_close(lock); /* which releases nothing */
    }
}

static void places(void)
{
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL) {
        interlock_space *space;
        line[strcspn(line, "\n")] = '\0';
        if (interlock_space_open(line[0] != '\0' ? line : NULL, &space) == INTERLOCK_OK)
            puts(interlock_space_path(space));
        else
            puts("refused");
        interlock_space_close(space);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "places") == 0) {
        places();
    } else if (argc == 4) {
        interlock_space *space;
        check(interlock_space_open(NULL, &space));
        if (strcmp(argv[1], "nest") == 0)
            nest(space, argv + 2);
        else
            hold(space, argv[2], argv[3]);
        interlock_space_close(space);
    } else {
        return 2;
    }
    return 0;
}
