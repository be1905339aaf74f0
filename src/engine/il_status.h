/* The one table of engine results: code, name, text.
 *
 * Every engine function returns IL_OK (0) or one negative code from here. The binding turns codes into exceptions in one
 * place, so a code never means two things: timed out, interrupted and "the owner died" are kept apart. */
#ifndef IL_STATUS_H
#define IL_STATUS_H

#define IL_STATUS_TABLE(X)                                                                                             \
    X(IL_OK, 0, "done")                                                                                                \
    X(IL_BUSY, -1, "held by another")                                                                                  \
    X(IL_TIMEDOUT, -2, "the deadline passed")                                                                          \
    X(IL_INTERRUPTED, -3, "a signal arrived during the wait")                                                          \
    X(IL_STALE, -4, "the name's cell was given to another name; look it up again")                                     \
    X(IL_NOT_HELD, -5, "not held")                                                                                     \
    X(IL_NOT_OWNER, -6, "held by another owner")                                                                       \
    X(IL_DEPTH, -7, "acquired too many times by its owner")                                                            \
    X(IL_KIND, -8, "the name is in use for another kind of object")                                                    \
    X(IL_PARAMETER, -9, "the name is in use with another parameter")                                                   \
    X(IL_ABSENT, -10, "no such name")                                                                                  \
    X(IL_SPACE_FULL, -11, "no room left in the file system for the space")                                             \
    X(IL_TABLE_FULL, -12, "every cell for this name is in use")                                                        \
    X(IL_SLOTS_FULL, -13, "every process slot of the space is taken by a living process")                              \
    X(IL_NO_SPACE_FILE, -14, "the space does not exist")                                                               \
    X(IL_GARBAGE, -15, "the file is not an interlock space")                                                           \
    X(IL_LAYOUT, -16, "the space was made by another layout version")                                                  \
    X(IL_REPLACED, -17, "the space was made anew since this reference to it was made")                                 \
    X(IL_WIPED, -18, "the space's file was deleted, replaced or truncated while in use")                               \
    X(IL_UNSAFE, -19, "the space's file belongs to, or can be written by, another user")                               \
    X(IL_REMOTE, -20, "the file system does not share memory between machines")                                        \
    X(IL_NO_LIVENESS, -21, "the kernel lacks the lock that proves a process alive")                                    \
    X(IL_NO_FALLOCATE, -22, "the file system cannot reserve room ahead (fallocate)")                                   \
    X(IL_SYSTEM, -23, "a system call failed")                                                                          \
    X(IL_ORPHANED_USERS, -24, "living processes still use a deleted file of this space")                               \
    X(IL_NO_UNNAMED, -25, "the file system cannot make a file without a name (O_TMPFILE)")                             \
    X(IL_OVERFLOW, -26, "more permits than the semaphore can have")                                                    \
    X(IL_BROKEN, -27, "the barrier is broken")                                                                         \
    X(IL_LAST, -28, "the last party of a barrier has come")                                                            \
    X(IL_DEADLOCK, -29, "it would wait for itself")                                                                    \
    X(IL_DATA_LOST, -30, "the data's file was deleted or damaged while the object had its name")                       \
    X(IL_PENDING, -31, "not yet: to be asked again when it is rung up, or due")

enum {
#define X(name, code, text) name = (code),
    IL_STATUS_TABLE(X)
#undef X
};

/* The text of a code; never NULL. */
const char *il_status_text(int code);

/* The name of a code, "IL_BUSY" for IL_BUSY; never NULL. */
const char *il_status_name(int code);

#endif
