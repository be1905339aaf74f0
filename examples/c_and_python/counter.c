/* Counts in a file, together with any number of programs that do the same: counter.py is one of them.
 *
 *     cc -o counter counter.c $(interlock config --cflags --libs)
 *     ./counter count.txt 100000 & python3 counter.py count.txt 100000
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <interlock.h>

/* Says what interlock says, and ends. */
static void check(int code)
{
    if (code == INTERLOCK_OK)
        return;
    fprintf(stderr, "counter: %s\n", interlock_last_error());
    exit(1);
}

/* Reads the number in the file and writes it back plus one: two steps that nobody may come between. */
static unsigned long long count(int file)
{
    char text[32] = "";
    if (pread(file, text, sizeof text - 1, 0) < 0) {
        perror("counter: read");
        exit(1);
    }
    unsigned long long number = strtoull(text, NULL, 10) + 1;
    int length = snprintf(text, sizeof text, "%llu\n", number);
    if (pwrite(file, text, (size_t)length, 0) != length) {
        perror("counter: write");
        exit(1);
    }
    return number;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: counter FILE TIMES\n");
        return 2;
    }
    int file = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) {
        perror(argv[1]);
        return 1;
    }

    interlock_space *space;
    interlock_lock *lock;
    check(interlock_space_open(NULL, &space)); /* the default one, as interlock.Lock("counter") has it */
    check(interlock_lock_open(space, "counter", &lock));

    unsigned long long number = 0;
    for (long left = atol(argv[2]); left > 0; left--) {
        interlock_owner dead;
        check(interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0));
        if (interlock_lock_recovered(lock, &dead) == 1) /* here is the place to repair what it left half done */
            fprintf(stderr, "counter: process %u died while it counted\n", dead.pid);
        number = count(file);
        check(interlock_lock_release(lock));
    }
    printf("%llu\n", number);

    interlock_lock_close(lock);
    interlock_space_close(space);
    close(file);
    return 0;
}
