/* Data: what a Value or an Array holds, in a file of its own beside the space's.
 *
 * The file's name is the space's, its identity and the object's reference, so nothing about it needs to be kept and no two
 * objects can share one. Its states, and who may change them:
 *
 *   (none)    whoever opens the object   -> named      built whole without a name: reserved, header, first content; then linked.
 *                                                      If the name exists by then, ours vanishes and the winner's is used
 *   named     whoever forgets the object -> (none)     alone on it, with the cell being filled; unlinked once the cell is another's
 *   named     anybody                    -> (none)     a leftover: its reference is of no cell any more, or nobody can come for it
 *
 * Who uses it is the kernel's business: a mapping pins an open file description that shares a lock on byte 0. So a forked child
 * takes part without a word, a view of the data that outlives the handle keeps it, and death, exit and exec let go. Whoever
 * forgets the object locks the byte for itself first, and cannot while anybody has the data mapped.
 *
 * A death leaves: before the link nothing; an object without data, which the next opener gives some; or, between the cell's
 * change of name and the unlinking, a file that no reference leads to, for il_data_sweep. Room is reserved before anything is
 * written, so a full file system is a code and never a signal. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "il_internal.h"
#include "il_platform.h"

#define MAGIC "INTERLD"

#define SWEEP_EVERY_NS 10000000000u /* by one process that makes data */

enum { BUSY_NAP_NS = 1000000, RESERVE_STEP = 1 << 26 };

typedef struct il_data_header {
    char magic[8];
    uint32_t layout_version, anonymous;
    uint64_t size, space_id, ref;
    uint32_t maker_slot, maker_epoch;
    uint64_t spare[2];
} il_data_header;
_Static_assert(sizeof(il_data_header) == IL_DATA_AT, "the content begins on a line of its own");

static char *put_hex(char *at, uint64_t number)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[number >> shift & 15];
    return at;
}

enum { SUFFIX = 34 }; /* of a data file's name: .ID-REFERENCE, both of 16 hexadecimal digits */

/* The space's path was found to fit with room for more than this. */
static void name_of(const il_space *space, il_ref ref, char path[PATH_MAX])
{
    size_t length = strnlen(space->path, PATH_MAX - SUFFIX - 1);
    char *at = (char *)memcpy(path, space->path, length) + length;
    *at++ = '.';
    at = put_hex(at, space->id);
    *at++ = '-';
    *put_hex(at, ref) = '\0';
}

/* The space's directory. */
static void directory_of(const il_space *space, char path[PATH_MAX])
{
    size_t length = (size_t)(strrchr(space->path, '/') - space->path);
    memcpy(path, space->path, length);
    path[length] = '\0';
}

static bool is_current(const il_space *space, il_ref ref)
{
    /* Acquire: pairs with the release of whoever gives the cell another name. */
    return (il_load_acquire(&il_ref_cell(space, ref)->mutex.word) & IL_GENERATION) == il_ref_key(ref);
}

static int fail(il_error *error, int code, int sys_errno, uint64_t wanted)
{
    *error = (il_error){.code = code, .sys_errno = sys_errno, .wanted = wanted};
    return code;
}

static int write_all(int fd, const void *bytes, uint64_t length, uint64_t at)
{
    for (uint64_t done = 0; done < length;) {
        ssize_t wrote = pwrite(fd, (const char *)bytes + done, length - done, (off_t)(at + done));
        if (wrote < 0 && errno != EINTR)
            return -errno;
        done += wrote > 0 ? (uint64_t)wrote : 0;
    }
    return 0;
}

/* In steps, since a signal makes the kernel give back all that a step had reserved. Not even the first of several if there is no
 * room for all: what a file system in memory has reserved is gone for everybody. */
static int reserve(int fd, uint64_t length)
{
    int failed = length <= RESERVE_STEP || il_has_room(fd, length) ? 0 : -ENOSPC;
    for (uint64_t at = 0; at < length && failed == 0; at += RESERVE_STEP)
        failed = il_reserve(fd, at, length - at < RESERVE_STEP ? length - at : RESERVE_STEP);
    return failed;
}

static int make(il_space *space, il_ref ref, const il_content *content, const char *path, il_error *error)
{
    char directory[PATH_MAX];
    directory_of(space, directory);
    int fd = il_unnamed_file(directory);
    if (fd < 0)
        return fail(error, IL_SYSTEM, -fd, 0);
    uint32_t self = il_self(space);
    il_data_header header = {.magic = MAGIC, .layout_version = IL_LAYOUT_VERSION, .anonymous = content->anonymous,
                             .size = content->size, .space_id = space->id, .ref = ref, .maker_slot = self,
                             .maker_epoch = il_load_relaxed(&space->slots[self].epoch)};
    int code = IL_OK, failed = reserve(fd, IL_DATA_AT + content->size);
    if (failed == 0)
        failed = write_all(fd, &header, sizeof header, 0);
    if (failed == 0 && content->first != NULL)
        failed = write_all(fd, content->first, content->size, IL_DATA_AT);
    if (failed == 0) {
        failed = il_name_file(fd, path);
        if (failed == -EEXIST)
            failed = 0;
    }
    if (failed == -ENOSPC || failed == -EDQUOT || failed == -EFBIG)
        code = fail(error, IL_SPACE_FULL, -failed, content->size);
    else if (failed != 0)
        code = fail(error, failed == -EOPNOTSUPP ? IL_NO_FALLOCATE : IL_SYSTEM, -failed, 0);
    close(fd);
    return code;
}

/* Maps the file of fd, which shares the lock on byte 0 from then on. IL_BUSY: somebody has the byte to itself. */
static int map(il_space *space, il_ref ref, const il_content *content, int fd, const char *path, il_data *data, il_error *error)
{
    il_data_header header;
    struct stat file;
    uint64_t length = IL_DATA_AT + content->size;
    int failed = il_byte_share(fd, 0);
    if (failed != 0)
        return failed == -EAGAIN ? IL_BUSY : fail(error, IL_SYSTEM, -failed, 0);
    /* From here on nobody can forget the object, unless that happened before. */
    il_fence();
    /* One load: between two, whoever fills the cell may have given the old generation back. */
    uint64_t word = il_load_acquire(&il_ref_cell(space, ref)->mutex.word);
    if ((word & IL_GENERATION) != il_ref_key(ref)) {
        if (!(word & IL_FILLING))
            unlink(path); /* else its filler died, and the reaper may give the old name back */
        return IL_STALE;
    }
    if (fstat(fd, &file) != 0 || pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        memcmp(header.magic, MAGIC, sizeof header.magic) != 0 || header.layout_version != IL_LAYOUT_VERSION ||
        header.size != content->size || header.space_id != space->id || header.ref != ref || (uint64_t)file.st_size < length)
        return fail(error, IL_DATA_LOST, 0, 0);
    void *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return fail(error, IL_SYSTEM, errno, 0);
    /* Release: pairs with the acquire of whoever then does not find the file. */
    il_store_release(&il_ref_cell(space, ref)->state.data.made, 1);
    *data = (il_data){.base = base, .mapped = length, .bytes = (unsigned char *)base + IL_DATA_AT};
    return IL_OK;
}

int il_data_open(il_space *space, il_ref ref, const il_content *content, il_data *data, il_error *error)
{
    char path[PATH_MAX];
    name_of(space, ref, path);
    int code = il_self(space) != 0 ? IL_OK : il_attach(space);
    bool swept = false;
    *error = (il_error){.code = code};
    if (code == IL_OK && content->size > (uint64_t)INT64_MAX - IL_DATA_AT)
        code = fail(error, IL_SPACE_FULL, EFBIG, content->size);
    while (code == IL_OK) {
        /* Before the look for the file, which may be made at any time. Acquire: pairs with the release in map(). */
        bool made = il_load_acquire(&il_ref_cell(space, ref)->state.data.made);
        pthread_mutex_lock(&space->process->fork_mutex);
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), failed = errno;
        if (fd >= 0) {
            code = map(space, ref, content, fd, path, data, error);
            close(fd);
        }
        pthread_mutex_unlock(&space->process->fork_mutex);
        if (fd >= 0) {
            if (code == IL_BUSY)
                il_nap(BUSY_NAP_NS);
            return code;
        }
        if (failed != ENOENT) {
            code = fail(error, IL_SYSTEM, failed, 0);
        } else if (!is_current(space, ref)) {
            code = IL_STALE;
        } else if (made) {
            code = fail(error, IL_DATA_LOST, ENOENT, 0);
        } else if (content->must_exist) {
            code = IL_ABSENT;
        } else {
            uint64_t now = il_clock_coarse_ns();
            if (now >= il_load_relaxed(&space->next_sweep_ns)) {
                il_store_relaxed(&space->next_sweep_ns, now + SWEEP_EVERY_NS);
                il_data_sweep(space);
            }
            code = make(space, ref, content, path, error);
            if (code == IL_SPACE_FULL && !swept) {
                swept = true;
                il_data_sweep(space);
                code = IL_OK;
            }
        }
    }
    return code;
}

void il_data_close(il_data *data)
{
    munmap(data->base, data->mapped);
    data->base = NULL;
}

void il_data_let_go(il_data *data)
{
    /* Whoever still writes there writes into nothing. Should that fail, the file stays in use until the process ends. */
    mmap(data->base, data->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

int il__data_claim(il_space *space, il_ref ref)
{
    char path[PATH_MAX];
    name_of(space, ref, path);
    pthread_mutex_lock(&space->process->fork_mutex);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return IL_CLAIMED_NONE;
    int failed = fd < 0 ? -errno : il_byte_lock(fd, 0);
    if (failed == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    int code = failed == -EAGAIN ? IL_BUSY : fail(&space->error, IL_SYSTEM, -failed, 0);
    pthread_mutex_unlock(&space->process->fork_mutex);
    return code;
}

bool il__data_exists(const il_space *space, il_ref ref)
{
    char path[PATH_MAX];
    name_of(space, ref, path);
    il_fence(); /* either we see the file, or whoever made it sees the cell being filled */
    return access(path, F_OK) == 0;
}

void il__data_drop(il_space *space, il_ref ref, int claim, bool forgotten)
{
    char path[PATH_MAX];
    name_of(space, ref, path);
    if (claim != IL_CLAIMED_NONE) {
        if (forgotten)
            unlink(path);
        close(claim);
    }
    pthread_mutex_unlock(&space->process->fork_mutex);
}

/* Whether the process that made a file lives. */
static bool maker_lives(il_space *space, const il_data_header *header)
{
    uint32_t k = header->maker_slot;
    return k != 0 && k < space->header->slot_count && il_load_relaxed(&space->slots[k].epoch) == header->maker_epoch &&
           (k == il_self(space) || il_slot_alive(space, k) != 0);
}

/* One file that looks like the data of an object of this space, or of an earlier one of the same name. */
static void judge(il_space *space, int directory, const char *file, uint64_t id, il_ref ref)
{
    il_data_header header;
    bool orphan = false;
    pthread_mutex_lock(&space->process->fork_mutex);
    int fd = openat(directory, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && il_byte_lock(fd, 0) == 0) {
        uint64_t word = 0;
        bool known = id == space->id && (uint32_t)ref < il_cells_of_levels(il_load_acquire(&space->header->levels));
        if (known)
            word = il_load_acquire(&il_ref_cell(space, ref)->mutex.word);
        /* A reference that the cell has left never becomes valid again, unless its filler died and the reaper undoes it. */
        bool another = id != space->id && il_space_check(space, true) != IL_OK; /* was made here just now */
        if (!another && (!known || (!(word & IL_FILLING) && (word & IL_GENERATION) != il_ref_key(ref))))
            unlinkat(directory, file, 0);
        else if (known)
            orphan = pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header && header.anonymous;
    }
    if (fd >= 0)
        close(fd);
    pthread_mutex_unlock(&space->process->fork_mutex);
    if (orphan && !maker_lives(space, &header))
        il_table_forget(space, ref, true, &(il_wait){.deadline_ns = IL_NOW});
}

void il_data_sweep(il_space *space)
{
    /* A space that was made anew at this path has its own. */
    if (il_space_check(space, true) != IL_OK)
        return;
    const char *name = strrchr(space->path, '/') + 1;
    size_t length = strlen(name);
    char path[PATH_MAX];
    directory_of(space, path);
    DIR *files = opendir(path);
    if (files == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(files)) != NULL;) {
        unsigned long long id, ref;
        int end = 0;
        if (strncmp(entry->d_name, name, length) == 0 &&
            sscanf(entry->d_name + length, ".%16llx-%16llx%n", &id, &ref, &end) == 2 && end == SUFFIX && entry->d_name[length + SUFFIX] == '\0')
            judge(space, dirfd(files), entry->d_name, id, ref);
    }
    closedir(files);
}
