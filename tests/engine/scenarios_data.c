/* What the victims do with the data of an Array. */
#include "stage.h"

enum { SIZE = 64, OLD = 1, NEW = 2, TYPE = 42 };

static const il_wait now = {.deadline_ns = IL_NOW};

static int open_data(unsigned char byte, il_data *data)
{
    unsigned char first[SIZE];
    il_error error;
    int code;
    memset(first, byte, sizeof first);
    do {
        uint8_t found_kind;
        il_wait wait = {.deadline_ns = IL_FOREVER};
        code = il_table_resolve(stage.space, "array", 5, IL_KIND_ARRAY, TYPE, &wait, &stage.object, &found_kind);
        if (code == IL_OK)
            code = il_data_open(stage.space, stage.object, &(il_content){.size = SIZE, .first = first}, data, &error);
    } while (code == IL_STALE || code == IL_BUSY);
    return code;
}

/* Which of the two it holds, all of it; 0 if it is not whole. */
static int content_of(const il_data *data)
{
    for (int i = 1; i < SIZE; i++) {
        if (data->bytes[i] != data->bytes[0])
            return 0;
    }
    return data->bytes[0];
}

/* What leftovers there are is looked for now and then, and the stepper is not to walk through the directory with it. */
static void begin_swept(void)
{
    il_store_relaxed(&stage.space->next_sweep_ns, UINT64_MAX);
}

static void act_make(void)
{
    il_data data;
    shared->result = open_data(OLD, &data);
}

static void act_forget(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_table_unlink(stage.space, "array", 5, &wait);
}

static void arrange_made(void)
{
    il_data data;
    JUDGED(open_data(OLD, &data) == IL_OK && content_of(&data) == OLD, "no data to begin with");
    il_data_close(&data);
}

static void forget(void)
{
    il_wait wait = now;
    int code = il_table_unlink(stage.space, "array", 5, &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    il_data_sweep(stage.space);
    DIR *files = opendir(check.directory);
    JUDGED(files != NULL, "the directory has gone");
    const char *space = strrchr(stage.path, '/') + 1;
    for (struct dirent *entry; (entry = readdir(files)) != NULL;)
        JUDGED(strncmp(entry->d_name, space, strlen(space)) != 0 || entry->d_name[strlen(space)] != '.', "a file is left over");
    closedir(files);
}

/* The object has data, whole, the victim's or ours, which its death does not keep in use; and nothing of it stays. */
static void judge_data(void)
{
    il_data data;
    int code = open_data(NEW, &data), content = content_of(&data);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(content == OLD || content == NEW, "the content is not whole");
    il_data_close(&data);
    forget();
}

static void judge_made(void)
{
    JUDGED(!stage.finished || shared->result == IL_OK, "the victim did not get its data");
    judge_data();
}

static void judge_forgotten(void)
{
    JUDGED(!stage.finished || shared->result == IL_OK, "the victim could not forget it");
    judge_data();
}

/* While the judge has it: nobody can forget it, and whoever tries and dies has changed nothing. */
static il_data ours;

static void arrange_in_use(void)
{
    JUDGED(open_data(OLD, &ours) == IL_OK, "no data to begin with");
}

static void judge_kept(void)
{
    il_data data;
    il_ref ref = stage.object;
    JUDGED(!stage.finished || shared->result == IL_BUSY, "what is in use was forgotten");
    JUDGED(open_data(NEW, &data) == IL_OK, "it cannot be had any more");
    JUDGED(stage.object == ref, "there are two of the same name");
    ours.bytes[0] = 7;
    JUDGED(data.bytes[0] == 7, "two who have it have not the same");
    il_data_close(&data);
    il_data_close(&ours);
    forget();
}

const scenario data_scenarios[] = {
    {"data-make", 0, FAR, nothing, attach, nothing, act_make, judge_made, begin_swept, NULL},
    {"data-forget", 0, FAR, arrange_made, attach, nothing, act_forget, judge_forgotten, begin_swept, NULL},
    {"data-in-use", 0, FAR, arrange_in_use, attach, nothing, act_forget, judge_kept, begin_swept, NULL},
    {.name = NULL},
};
