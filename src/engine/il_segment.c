/* A space's file: made whole, verified, mapped once, grown without moving.
 *
 * Making: build the file without a name, reserve its room, fill in the header, try the liveness mechanism on it, then link
 * it to its name. If the name exists by then, the winner's file is used and ours vanishes. A crash at any step leaves
 * nothing.
 *
 * A file of an earlier boot (INTERLOCK_DIR may be on a disk) names no living process and its clock stamps mean nothing. It
 * is removed under a kernel lock on its byte 0, by whoever still finds it at the path while holding that lock, and finds no
 * other byte of it locked: a container may be shown another boot id than its host, and then the file is in use. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "il_internal.h"
#include "il_platform.h"

enum { CHECK_EVERY_NS = 50000000, OPEN_ATTEMPTS = 1000, STALE_NAP_NS = 1000000 };

void il_process_init(il_process *process)
{
    pthread_mutex_init(&process->opening_mutex, NULL);
    pthread_mutex_init(&process->fork_mutex, NULL);
    pthread_mutex_init(&process->ports_mutex, NULL);
    process->spins = il_processors() > 1;
}

void il_process_before_fork(il_process *process)
{
    pthread_mutex_lock(&process->opening_mutex);
    pthread_mutex_lock(&process->fork_mutex);
    il__ports_before_fork(process);
}

void il_process_after_fork(il_process *process, bool child)
{
    il__ports_after_fork(process, child);
    pthread_mutex_unlock(&process->fork_mutex);
    pthread_mutex_unlock(&process->opening_mutex);
}

static int fail(il_error *error, int code, int sys_errno)
{
    error->code = code;
    error->sys_errno = sys_errno;
    return code;
}

static uint64_t align(uint64_t offset)
{
    return (offset + 4095u) & ~(uint64_t)4095u;
}

/* Where things lie, from the number of slots. */
static void plan(il_header *header, uint32_t slots)
{
    uint32_t most = il_cells_of_levels(IL_LEVELS);
    memcpy(header->magic, IL_MAGIC, sizeof header->magic);
    header->layout_version = IL_LAYOUT_VERSION;
    header->byte_order = IL_BYTE_ORDER;
    header->header_size = IL_HEADER_SIZE;
    header->slot_size = sizeof(il_slot);
    header->cell_size = sizeof(il_cell);
    header->record_size = sizeof(il_record);
    header->slot_count = slots;
    header->stripe_count = IL_STRIPES;
    header->level_limit = IL_LEVELS;
    header->slots_at = IL_HEADER_SIZE;
    header->stripes_at = align(header->slots_at + (uint64_t)slots * sizeof(il_slot));
    header->records_at = align(header->stripes_at + (uint64_t)IL_STRIPES * sizeof(il_mutex));
    header->tags_at = align(header->records_at + (uint64_t)il_records_of_levels(IL_RECORD_LEVELS) * sizeof(il_record));
    header->cells_at = align(header->tags_at + (uint64_t)most * sizeof(il_u32));
    header->end_at = align(header->cells_at + (uint64_t)most * sizeof(il_cell));
}

/* Bytes that a file of this plan has once `levels` levels are reserved. */
static uint64_t size_with(const il_header *header, uint32_t levels)
{
    return header->cells_at + (uint64_t)il_cells_of_levels(levels) * sizeof(il_cell);
}

/* Doing it twice does no harm. */
static int reserve(int fd, uint64_t offset, uint64_t length, il_error *error)
{
    int failed = il_reserve(fd, offset, length);
    if (failed == 0)
        return IL_OK;
    error->wanted = length;
    if (failed == -ENOSPC || failed == -EDQUOT || failed == -EFBIG)
        return fail(error, IL_SPACE_FULL, -failed);
    return fail(error, failed == -EOPNOTSUPP ? IL_NO_FALLOCATE : IL_SYSTEM, -failed);
}

static int reserve_level(int fd, const il_header *header, uint32_t level, il_error *error)
{
    uint64_t first = il_cells_of_levels(level), count = il_cells_of_levels(level + 1) - first;
    int code = reserve(fd, header->tags_at + first * sizeof(il_u32), count * sizeof(il_u32), error);
    return code == IL_OK ? reserve(fd, header->cells_at + first * sizeof(il_cell), count * sizeof(il_cell), error) : code;
}

static int reserve_record_level(int fd, const il_header *header, uint32_t level, il_error *error)
{
    uint64_t first = il_records_of_levels(level), count = il_records_of_levels(level + 1) - first;
    return reserve(fd, header->records_at + first * sizeof(il_record), count * sizeof(il_record), error);
}

/* Makes the file and gives it its name. IL_OK also when somebody else was first. */
static int make(il_process *process, const char *path, const il_options *options, il_error *error)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL || slash == directory)
        return fail(error, IL_SYSTEM, EINVAL);
    *slash = '\0';

    error->found = il_deleted_file_user(path);
    if (error->found != 0)
        return fail(error, IL_ORPHANED_USERS, 0);
    int fd = il_unnamed_file(directory);
    if (fd < 0)
        return fail(error, fd == -EOPNOTSUPP || fd == -EISDIR ? IL_NO_UNNAMED : IL_SYSTEM, -fd);

    il_header header = {0};
    plan(&header, options->slots != 0 ? options->slots : IL_SLOTS_DEFAULT);
    header.created_ns = il_clock_wall_ns();
    il_store_relaxed(&header.levels, 1);
    il_store_relaxed(&header.record_levels, 1);
    /* A space made anew starts above every fence of its forerunner: one acquisition each 1024 ns, for ever. */
    il_store_relaxed(&header.fence_floor, header.created_ns >> 10);
    int code = IL_OK, failed = il_file_system_is_local(fd);
    if (failed == 0)
        code = fail(error, IL_REMOTE, 0);
    else if (failed < 0)
        code = fail(error, IL_SYSTEM, -failed);
    if (code == IL_OK) {
        failed = il_boot_id(header.boot_id);
        if (failed == 0)
            failed = il_random(&header.id, sizeof header.id);
        if (failed == 0)
            failed = il_random(header.hash_key, sizeof header.hash_key);
        if (failed != 0)
            code = fail(error, IL_SYSTEM, -failed);
    }
    if (code == IL_OK)
        code = reserve(fd, 0, header.records_at, error);
    if (code == IL_OK)
        code = reserve_record_level(fd, &header, 0, error);
    if (code == IL_OK)
        code = reserve_level(fd, &header, 0, error);
    if (code == IL_OK && pwrite(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
        code = fail(error, IL_SYSTEM, errno);
    if (code == IL_OK) {
        pthread_mutex_lock(&process->fork_mutex);
        int works = il_liveness_works(fd);
        pthread_mutex_unlock(&process->fork_mutex);
        if (works != 1)
            code = fail(error, works == 0 ? IL_NO_LIVENESS : IL_SYSTEM, works < 0 ? -works : 0);
    }
    if (code == IL_OK) {
        failed = il_name_file(fd, path);
        if (failed != 0 && failed != -EEXIST)
            code = fail(error, IL_SYSTEM, -failed);
    }
    close(fd);
    return code;
}

/* Whether the header read from a file fits this engine. */
static int judge(const il_header *header, uint64_t size, il_error *error)
{
    il_header expected = {0};
    if (memcmp(header->magic, IL_MAGIC, sizeof header->magic) != 0)
        return fail(error, IL_GARBAGE, 0);
    error->found = header->layout_version;
    if (header->layout_version != IL_LAYOUT_VERSION || header->byte_order != IL_BYTE_ORDER)
        return fail(error, IL_LAYOUT, 0);
    if (header->slot_count < 2 || header->slot_count > IL_SLOTS_LIMIT + 1u)
        return fail(error, IL_GARBAGE, 0);
    plan(&expected, header->slot_count);
    uint32_t levels = il_load_relaxed(&header->levels), record_levels = il_load_relaxed(&header->record_levels);
    if (memcmp(header, &expected, offsetof(il_header, boot_id)) != 0 || levels < 1 || levels > IL_LEVELS ||
        record_levels < 1 || record_levels > IL_RECORD_LEVELS || size < size_with(header, levels))
        return fail(error, IL_GARBAGE, 0);
    return IL_OK;
}

/* Whether a process slot is held: 1 or 0, or -errno. */
static int in_use(int fd, const il_header *header)
{
    return il_any_byte_locked(fd, 1, header->slot_count - 1);
}

/* Removes the file of an earlier boot, unless another process already has. Held: nothing. */
static int remove_stale(il_process *process, const char *path, int fd, const il_header *header, const struct stat *stale,
                        il_error *error)
{
    struct stat now;
    int code = IL_OK;
    pthread_mutex_lock(&process->fork_mutex);
    int failed = il_byte_lock(fd, 0);
    if (failed == 0 && in_use(fd, header) != 0)
        failed = -EAGAIN;
    if (failed == 0 && stat(path, &now) == 0 && now.st_dev == stale->st_dev && now.st_ino == stale->st_ino &&
        unlink(path) != 0)
        code = fail(error, IL_SYSTEM, errno);
    if (failed != 0 && failed != -EAGAIN)
        code = fail(error, IL_SYSTEM, -failed);
    pthread_mutex_unlock(&process->fork_mutex);
    return code;
}

/* Opens and verifies what stands at the path. IL_NO_SPACE_FILE: nothing does; IL_STALE: an earlier boot's, now removed. */
static int open_existing(il_process *process, const char *path, il_header *header, struct stat *file, int *out,
                         il_error *error)
{
    uint8_t boot_id[16];
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT)
            return fail(error, IL_NO_SPACE_FILE, ENOENT);
        return fail(error, errno == EACCES || errno == EPERM || errno == ELOOP ? IL_UNSAFE : IL_SYSTEM, errno);
    }
    int code = IL_OK, failed = il_boot_id(boot_id);
    if (failed != 0 || fstat(fd, file) != 0)
        code = fail(error, IL_SYSTEM, failed != 0 ? -failed : errno);
    else if (!S_ISREG(file->st_mode))
        code = fail(error, IL_GARBAGE, 0);
    else if (file->st_uid != geteuid() || (file->st_mode & 077) != 0)
        code = fail(error, IL_UNSAFE, 0);
    else if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        code = fail(error, IL_GARBAGE, 0);
    else if (fstat(fd, file) != 0) /* again: it may have grown before the header was read */
        code = fail(error, IL_SYSTEM, errno);
    else
        code = judge(header, (uint64_t)file->st_size, error);
    if (code == IL_OK && memcmp(header->boot_id, boot_id, sizeof boot_id) != 0) {
        int alive = in_use(fd, header);
        if (alive < 0)
            code = fail(error, IL_SYSTEM, -alive);
        else if (!alive)
            code = remove_stale(process, path, fd, header, file, error);
        if (code == IL_OK && !alive)
            code = IL_STALE;
    }
    if (code == IL_OK)
        *out = fd;
    else
        close(fd);
    return code;
}

static il_space *space_new(il_process *process, const char *path)
{
    il_space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return NULL;
    space->process = process;
    space->path = strdup(path);
    space->self = il_wiped_page_new();
    atomic_store_explicit(&space->probe_fd, -1, memory_order_relaxed);
    if (space->path == NULL || space->self == NULL) {
        free(space->path);
        if (space->self != NULL)
            il_wiped_page_free(space->self);
        free(space);
        return NULL;
    }
    return space;
}

static void point_into(il_space *space)
{
    il_header *header = (il_header *)(void *)space->base;
    space->header = header;
    space->slots = (il_slot *)(void *)(space->base + header->slots_at);
    space->stripes = (il_mutex *)(void *)(space->base + header->stripes_at);
    space->records = (il_record *)(void *)(space->base + header->records_at);
    space->tags = (il_u32 *)(void *)(space->base + header->tags_at);
    space->cells = (il_cell *)(void *)(space->base + header->cells_at);
}

static int map(il_space *space, int fd, const il_header *header, const struct stat *file, il_error *error)
{
    /* The whole range at once, most of it behind the end of the file for now: handles' pointers stay good for ever. */
    void *base = mmap(NULL, header->end_at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED)
        return fail(error, IL_SYSTEM, errno);
    space->base = base;
    space->mapped = header->end_at;
    space->device = file->st_dev;
    space->inode = file->st_ino;
    space->id = header->id;
    point_into(space);
    int code = il__truncation_watch(base, space->mapped, &space->wiped);
    return code == IL_OK ? IL_OK : fail(error, code, ENFILE);
}

int il_space_open(il_process *process, const char *path, const il_options *options, il_space **out, il_error *error)
{
    int code = IL_NO_SPACE_FILE;
    *error = (il_error){0};
    if (options->slots == 1 || options->slots > IL_SLOTS_LIMIT + 1u)
        return fail(error, IL_SYSTEM, EINVAL);
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        il_header header;
        struct stat file;
        int fd = -1;
        code = open_existing(process, path, &header, &file, &fd, error);
        if ((code == IL_NO_SPACE_FILE || code == IL_STALE) && !options->must_exist) {
            if (code == IL_NO_SPACE_FILE)
                code = make(process, path, options, error);
            else
                il_nap(STALE_NAP_NS); /* another is removing it, perhaps */
            if (code == IL_OK || code == IL_STALE)
                continue;
        }
        if (code != IL_OK)
            return code == IL_STALE ? fail(error, IL_NO_SPACE_FILE, 0) : code;
        if (options->id != 0 && options->id != header.id) {
            close(fd);
            return fail(error, IL_REPLACED, 0);
        }
        il_space *space = space_new(process, path);
        code = space != NULL ? map(space, fd, &header, &file, error) : fail(error, IL_SYSTEM, ENOMEM);
        close(fd);
        if (code != IL_OK && space != NULL)
            il_space_close(space);
        else
            *out = space;
        return code;
    }
    return fail(error, IL_NO_SPACE_FILE, EAGAIN);
}

int il_space_view(il_process *process, const il_space *space, il_space **out)
{
    il_space *view = space_new(process, space->path);
    if (view == NULL)
        return IL_SYSTEM;
    view->base = space->base;
    view->device = space->device;
    view->inode = space->inode;
    view->id = space->id;
    point_into(view);
    *out = view;
    return IL_OK;
}

void il_space_close(il_space *space)
{
    if (il_self(space) != 0)
        il_unpin(space->pin);
    if (space->mapped != 0) {
        il__truncation_unwatch(space->base);
        munmap(space->base, space->mapped);
    }
    struct stat file;
    int fd = atomic_load_explicit(&space->probe_fd, memory_order_relaxed);
    if (fd >= 0 && fstat(fd, &file) == 0 && file.st_ino == space->inode && file.st_dev == space->device)
        close(fd);
    il_wiped_page_free(space->self);
    free(space->path);
    free(space);
}

int il_space_check(il_space *space, bool now)
{
    if (il_load_relaxed(&space->wiped))
        return IL_WIPED;
    uint64_t time = il_clock_coarse_ns();
    if (!now && time - il_load_relaxed(&space->checked_ns) < CHECK_EVERY_NS)
        return IL_OK;
    struct stat file;
    il_store_relaxed(&space->checked_ns, time);
    /* Before the size: another process may grow the file in between. */
    uint32_t levels = il_load_acquire(&space->header->levels);
    if (stat(space->path, &file) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return IL_OK; /* says nothing about the file */
        file.st_ino = 0;
    }
    if (file.st_ino != space->inode || file.st_dev != space->device ||
        (uint64_t)file.st_size < size_with(space->header, levels) || space->header->id != space->id) {
        il_store_relaxed(&space->wiped, 1);
        return IL_WIPED;
    }
    return IL_OK;
}

/* Reserves a level and then publishes it as one more than `levels`, unless somebody else already has. */
static int grow(il_space *space, il_u32 *published, uint32_t levels,
                int (*reserve_one)(int, const il_header *, uint32_t, il_error *))
{
    pthread_mutex_lock(&space->process->fork_mutex);
    int code = IL_SYSTEM, fd = il__reopen(space);
    if (fd >= 0) {
        code = reserve_one(fd, space->header, levels, &space->error);
        close(fd);
    } else {
        code = space->error.code;
    }
    pthread_mutex_unlock(&space->process->fork_mutex);
    uint32_t expected = levels;
    if (code == IL_OK)
        /* Release: whoever sees the level finds its room reserved, which only the kernel had to be told. */
        il_cas32_release(published, &expected, levels + 1);
    return code;
}

int il__segment_grow(il_space *space, uint32_t levels)
{
    return levels < IL_LEVELS ? grow(space, &space->header->levels, levels, reserve_level) : IL_TABLE_FULL;
}

int il__segment_grow_records(il_space *space, uint32_t levels)
{
    return levels < IL_RECORD_LEVELS ? grow(space, &space->header->record_levels, levels, reserve_record_level)
                                     : IL_TABLE_FULL;
}
