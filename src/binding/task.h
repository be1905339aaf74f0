/* An act that is pending, as a Python object: between task.c, which takes its steps, and port.c, which says when. */
#ifndef INTERLOCK_TASK_H
#define INTERLOCK_TASK_H

#include "binding.h"

typedef struct Port Port;

typedef struct {
    PyObject_HEAD
    Handle *handle;
    Act act;
    PyObject *owner; /* whose future it is, for poll() to tell */
    Port *port;      /* borrowed: where it is watched, NULL elsewhere */
    size_t place;    /* in the port's heap */
    uint64_t due_ns;
    uint32_t made_at; /* `forked_from`, then */
    bool stepping, dropped; /* a step is under way; the wait was abandoned meanwhile */
    bool dormant;     /* others stand before it: looked at for its deadline alone */
    bool over;
    bool told; /* the hook for waits has been told */
} Waiter;

/* Takes the next step. What came of the act, or None: it is still pending. NULL with an exception. */
PyObject *take_step(Waiter *self);

#endif
