#include "il_status.h"

const char *il_status_text(int code)
{
    switch (code) {
#define X(name, number, text)                                                                                          \
    case name:                                                                                                         \
        return text;
        IL_STATUS_TABLE(X)
#undef X
    default:
        return "unknown engine code";
    }
}

const char *il_status_name(int code)
{
    switch (code) {
#define X(name, number, text)                                                                                          \
    case name:                                                                                                         \
        return #name;
        IL_STATUS_TABLE(X)
#undef X
    default:
        return "IL_UNKNOWN";
    }
}
