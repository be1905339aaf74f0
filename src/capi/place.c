/* Which file a space's URL means. The rule is that of src/interlock/space.py, step for step, since programs in C and in Python must
 * meet in one file: tests/process/test_c_places.py compares the two. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capi.h"

enum { ENCODED_MAX = 200 };

bool capi_is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != 0) {
        unsigned first = *at++;
        int more = first < 0x80 ? 0 : first >= 0xC2 && first < 0xE0 ? 1 : first >= 0xE0 && first < 0xF0 ? 2 : 3;
        uint32_t point = more == 0 ? first : first & (0x3Fu >> more);
        if (first >= 0x80 && (first < 0xC2 || first > 0xF4))
            return false;
        for (int i = 0; i < more; i++, at++) {
            if ((*at & 0xC0) != 0x80)
                return false;
            point = point << 6 | (*at & 0x3Fu);
        }
        if ((more == 2 && (point < 0x800 || (point >= 0xD800 && point < 0xE000))) ||
            (more == 3 && (point < 0x10000 || point > 0x10FFFF)))
            return false;
    }
    return true;
}

/* The name of a URL as it stands in the file's name. */
static int encode(const char *url, char encoded[ENCODED_MAX + 1])
{
    size_t used = 0;
    if (strncmp(url, "shm:", 4) != 0 || !capi_is_utf8(url))
        return capi_fail(INTERLOCK_URL, "'%s'", url);
    for (const char *at = url + 4; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                     byte == '-' || byte == '_' || byte == '.';
        size_t length = plain ? 1 : 3;
        if (used + length > ENCODED_MAX)
            return capi_fail(INTERLOCK_URL, "'%s'", url);
        snprintf(encoded + used, ENCODED_MAX + 1 - used, plain ? "%c" : "%%%02X", byte);
        used += length;
    }
    return used > 0 ? INTERLOCK_OK : capi_fail(INTERLOCK_URL, "'%s'", url);
}

static bool is_directory(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

/* Whether nobody but the user could replace files there. */
static int check_directory(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return capi_fail(INTERLOCK_DIRECTORY, "the directory %s cannot be used (%s)", path, strerror(errno));
    if (!S_ISDIR(found.st_mode))
        return capi_fail(INTERLOCK_DIRECTORY, "%s is not a directory", path);
    if (found.st_uid != 0 && found.st_uid != geteuid())
        return capi_fail(INTERLOCK_DIRECTORY, "the directory %s belongs to another user, who could replace its files", path);
    if ((found.st_mode & 022) != 0 && (found.st_mode & 01000) == 0)
        return capi_fail(INTERLOCK_DIRECTORY, "the directory %s can be written by other users (chmod go-w it)", path);
    if (access(path, W_OK | X_OK) != 0)
        return capi_fail(INTERLOCK_DIRECTORY, "no permission to write in %s", path);
    return INTERLOCK_OK;
}

/* The directory for temporary files, as Python's tempfile finds it; but the current directory is none that another program
 * would find. NULL: there is none. */
static const char *temporary(void)
{
    const char *places[] = {getenv("TMPDIR"), getenv("TEMP"), getenv("TMP"), "/tmp", "/var/tmp", "/usr/tmp"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (places[i] != NULL && places[i][0] != '\0' && is_directory(places[i]) && access(places[i], W_OK | X_OK) == 0)
            return places[i];
    }
    return NULL;
}

/* The directory where spaces live. */
static int directory(char real[PATH_MAX])
{
    const char *place = getenv("INTERLOCK_DIR");
    int code = INTERLOCK_OK;
    if (place != NULL && place[0] != '\0') {
        if (place[0] != '/')
            return capi_fail(INTERLOCK_DIRECTORY,
                             "INTERLOCK_DIR must be an absolute path, not '%s': programs started elsewhere would not find it",
                             place);
        code = check_directory(place);
    } else {
        const char *candidates[] = {"/dev/shm", getenv("XDG_RUNTIME_DIR")};
        place = NULL;
        for (size_t i = 0; i < sizeof candidates / sizeof *candidates && place == NULL; i++) {
            if (candidates[i] != NULL && is_directory(candidates[i]) && access(candidates[i], W_OK | X_OK) == 0)
                place = candidates[i];
        }
        if (place != NULL)
            code = check_directory(place);
        else
            place = temporary();
    }
    if (code != INTERLOCK_OK)
        return code;
    if (place == NULL || realpath(place, real) == NULL)
        return capi_fail(INTERLOCK_DIRECTORY, "%s (%s)", place != NULL ? place : "/tmp", strerror(errno));
    return INTERLOCK_OK;
}

int capi_place(const char *url, char *path, size_t size)
{
    char encoded[ENCODED_MAX + 1], real[PATH_MAX];
    if (url == NULL) {
        url = getenv("INTERLOCK_SPACE");
        if (url == NULL || url[0] == '\0')
            url = "shm:default";
    }
    int code = encode(url, encoded);
    if (code == INTERLOCK_OK)
        code = directory(real);
    if (code != INTERLOCK_OK)
        return code;
    int length = snprintf(path, size, "%s%sinterlock-%u-%s.ilk", real, real[1] != '\0' ? "/" : "", (unsigned)geteuid(), encoded);
    if (length < 0 || (size_t)length >= size)
        return capi_fail(INTERLOCK_DIRECTORY, "%s (%s)", real, strerror(ENAMETOOLONG));
    return INTERLOCK_OK;
}

int capi_slots(uint32_t *slots)
{
    const char *text = getenv("INTERLOCK_SLOTS");
    uint32_t wanted = 0;
    *slots = 0;
    if (text == NULL || text[0] == '\0')
        return INTERLOCK_OK;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return capi_fail(INTERLOCK_SETTING, "'%s'", text);
        wanted = wanted * 10 + (uint32_t)(*at - '0');
        if (wanted > IL_SLOTS_LIMIT)
            return capi_fail(INTERLOCK_SETTING, "'%s'", text);
    }
    if (wanted == 0)
        return capi_fail(INTERLOCK_SETTING, "'%s'", text);
    *slots = wanted + 1; /* slot 0 is nobody's */
    return INTERLOCK_OK;
}
