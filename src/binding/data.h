/* What data.c, value.c and array.c share. */
#ifndef INTERLOCK_DATA_H
#define INTERLOCK_DATA_H

#include "binding.h"

/* Owns the memory and lends it out (buffer protocol) to the ctypes object and to whoever asks; it goes when the last of
 * them goes. */
typedef struct Mapping {
    PyObject_HEAD
    il_data data;
    SpaceObject *space;
    il_ref ref;
    uint32_t made_by;       /* process slot */
    bool anonymous;         /* and made here: to be forgotten with its last mapping … */
    bool kept;              /* … but while this process runs, others may come for it */
    struct Mapping *next;   /* of all that are mapped. Guard: `listing` … */
    struct Mapping **link;  /* … NULL: not mapped */
} Mapping;

typedef struct {
    Handle handle;
    Mapping *mapping;
    PyObject *content; /* a ctypes object in that memory */
    PyObject *lock;    /* a lock given, or NULL */
    bool guarded;      /* by its own lock, or the one given */
    char sort;         /* of a number: 'i', 'u' or 'f'; else 0 … */
    uint8_t width;     /* … and its bytes */
} Data;

/* A Value or an Array, from (name, space, ctype, description, size, first, must_exist, guarded, lock, sort,
 * on_recover). */
PyObject *data_make(PyTypeObject *type, PyObject *args, PyObject *kwargs, uint8_t kind);

/* Takes the lock that guards the content, if there is one: 0, or -1 with an exception. */
int data_enter(Data *self);
/* Lets go of it. Passes on what was made of the content, unless the release fails. */
PyObject *data_leave(Data *self, PyObject *result);
/* The same for what was done: 0, or -1 with an exception. */
int data_leave_with(Data *self, int code);

#endif
