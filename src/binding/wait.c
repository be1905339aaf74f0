/* Waiting, as every kind does it: deadlines from Python's arguments, the GIL released, signals let in, stale names looked up again. */
#include <math.h>

#include "binding.h"
#include "il_platform.h"

/* --- arguments of acquire --- */

enum { TIMEOUT_MAX_SECONDS = 9223372036 }; /* threading.TIMEOUT_MAX: 2^63 ns */

static double seconds_of(PyObject *timeout)
{
    if (PyNumber_Check(timeout))
        return PyFloat_AsDouble(timeout);
    PyErr_Format(PyExc_TypeError, "timeout must be a number of seconds, or None for ever, not %.100s",
                 Py_TYPE(timeout)->tp_name);
    return -1.0;
}

/* The timeout is in seconds, -1 (exactly) and None meaning for ever. */
static int deadline_of(PyObject *timeout, bool blocking, uint64_t *deadline)
{
    *deadline = blocking ? IL_FOREVER : IL_NOW;
    if (timeout == NULL || timeout == Py_None)
        return 0;
    double seconds = seconds_of(timeout);
    if (seconds == -1.0) {
        if (PyErr_Occurred() == NULL)
            return 0;
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_SetString(PyExc_OverflowError, "timeout value is too large: None is for ever");
        }
        return -1;
    }
    if (!blocking)
        PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
    else if (isnan(seconds) || seconds < 0)
        PyErr_SetString(PyExc_ValueError, "timeout value must be a non-negative number of seconds, or -1 or None for ever");
    else if (seconds > (double)TIMEOUT_MAX_SECONDS)
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large: None is for ever");
    else {
        *deadline = seconds == 0 ? IL_NOW : il_clock_ns() + (uint64_t)ceil(seconds * 1e9);
        return 0;
    }
    return -1;
}

int lenient_deadline(PyObject *timeout, uint64_t *deadline)
{
    if (timeout != NULL && timeout != Py_None) {
        double seconds = seconds_of(timeout);
        if (seconds == -1.0 && PyErr_Occurred())
            return -1;
        if (isnan(seconds)) {
            PyErr_SetString(PyExc_ValueError, "timeout value must be a number of seconds, or None for ever, not NaN");
            return -1;
        }
        if (seconds <= 0) {
            *deadline = IL_NOW;
            return 0;
        }
    }
    return deadline_of(timeout, true, deadline);
}

int deadline_from(PyObject *blocking, PyObject *timeout, uint64_t *deadline)
{
    int blocks = blocking != NULL ? PyObject_IsTrue(blocking) : 1;
    return blocks < 0 ? -1 : deadline_of(timeout, blocks, deadline);
}

int parse_acquire(Handle *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, uint64_t *deadline)
{
    PyObject *blocking = NULL, *timeout = NULL;
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs > 2) {
        PyErr_Format(PyExc_TypeError, "acquire() takes at most 2 arguments (%zd given)", nargs + named);
        return -1;
    }
    if (nargs > 0)
        blocking = args[0];
    if (nargs > 1)
        timeout = args[1];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i), **into;
        if (PyUnicode_CompareWithASCIIString(key, "timeout") == 0)
            into = &timeout;
        else if (PyUnicode_CompareWithASCIIString(key, "blocking") == 0 ||
                 PyUnicode_CompareWithASCIIString(key, "block") == 0)
            into = &blocking;
        else {
            PyErr_Format(PyExc_TypeError, "acquire() got an unexpected keyword argument %R", key);
            return -1;
        }
        if (*into != NULL) {
            PyErr_Format(PyExc_TypeError, "acquire() got multiple values for argument %R", key);
            return -1;
        }
        *into = args[nargs + i];
    }
    int blocks = blocking != NULL ? PyObject_IsTrue(blocking) : 1;
    if (blocks < 0)
        return -1;
    if (blocks && self->rules != RULES_LOCK)
        return lenient_deadline(timeout, deadline);
    return deadline_of(self->rules == RULES_MULTIPROCESSING ? NULL : timeout, blocks, deadline);
}

/* --- waiting --- */

il_wait wait_until(uint64_t deadline)
{
    /* Python runs signal handlers in the main thread. A signal that comes just before the engine sleeps interrupts nothing, so
     * that thread comes back after every slice to look. */
    return (il_wait){.deadline_ns = deadline, .restless = this_token() != 0 && thread_is_main};
}

/* Having to wait long for one of the engine's own locks is not the end of the caller's time. */
static int call_listening(il_space *space, operation call, il_ref ref, il_wait *wait, void *argument)
{
    int code = call(space, ref, wait, argument);
    return code == IL_TIMEDOUT && il_clock_ns() < wait->deadline_ns ? il_wait_later(space, wait) : code;
}

static int call_once(Handle *self, operation call, il_ref ref, il_wait *wait, void *argument)
{
    il_space *space = self->space->segment;
    int code;
    if (wait->listens)
        return call_listening(space, call, ref, wait, argument);
    if (wait->deadline_ns == IL_NOW)
        return call(space, ref, wait, argument);
    uint32_t now = il_load_relaxed(&forks) + 1;
    if (il_load_relaxed(&self->looked_at) != now) {
        if (hub_look(self->state) < 0)
            return PERFORM_FAILED;
        il_store_relaxed(&self->looked_at, now);
    }
    if (self->state->hub_sleep == NULL) {
        Py_BEGIN_ALLOW_THREADS;
        code = call(space, ref, wait, argument);
        Py_END_ALLOW_THREADS;
        return code;
    }
    wait->restless = false; /* the hub lets signal handlers run */
    if (wait->agent == this_token())
        wait->agent = 0; /* a greenlet is not its thread; the hub was found only now */
    do {
        wait->listens = true;
        code = call_listening(space, call, ref, wait, argument);
        wait->listens = false;
    } while (code == IL_PENDING && (code = hub_sleep(self, wait)) == IL_OK);
    return code;
}

int call_asleep(Handle *self, operation call, il_ref ref, il_wait *wait, void *argument)
{
    wait->wanted = ref;
    int code = call_once(self, call, ref, wait, argument);
    if (wait->note != 0 && code != IL_INTERRUPTED && code != IL_PENDING)
        il_wait_end(self->space->segment, wait);
    return code;
}

static int perform_with(Handle *self, operation call, void *argument, il_wait *wait, bool deaf, il_ref *where)
{
    for (;;) {
        il_ref ref = il_load_relaxed(&self->ref);
        if (check_open(self) < 0) {
            il_wait_end(self->space->segment, wait); /* it was closed in the middle of the wait */
            return PERFORM_FAILED;
        }
        int code = call_asleep(self, call, ref, wait, argument);
        if (code == PERFORM_FAILED)
            return code;
        if (code == IL_STALE) {
            code = resolve(self, ref, wait);
            if (code == -1)
                return PERFORM_FAILED;
            if (code == IL_OK)
                continue;
        }
        *where = ref;
        switch (code) {
        case IL_OK:
        case IL_BUSY:
        case IL_TIMEDOUT:
        case IL_BROKEN:
        case IL_LAST:
        case IL_OVERFLOW:
        case IL_PENDING:
            return code;
        case IL_INTERRUPTED:
            if (look_after(self, wait, deaf) < 0)
                return PERFORM_FAILED;
            break;
        default:
            raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
            return PERFORM_FAILED;
        }
    }
}

int perform(Handle *self, operation call, void *argument, il_wait *wait, il_ref *where)
{
    return perform_with(self, call, argument, wait, false, where);
}

int perform_quickly(Handle *self, operation call, void *argument, il_ref *where)
{
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = perform(self, call, argument, &wait, where);
    if (code != IL_BUSY)
        return code;
    wait = wait_until(IL_FOREVER);
    return perform(self, call, argument, &wait, where);
}

Act act_until(uint64_t deadline)
{
    return (Act){.wait = wait_until(deadline)};
}

/* --- waits that are over --- */

static int raise_it_now(void *error)
{
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return -1;
}

void put_off(PyObject *where)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    bool meant = !PyErr_GivenExceptionMatches(error, PyExc_Exception) && il_thread_id() == (uint32_t)getpid();
    if (meant && Py_AddPendingCall(raise_it_now, error) == 0) {
        Py_DECREF(type);
        Py_XDECREF(traceback);
    } else {
        PyErr_Restore(type, error, traceback);
        PyErr_WriteUnraisable(where);
    }
}

/* What the hook itself waits for it is not told of. */
static _Thread_local bool in_hook;

void tell_wait(Handle *self, const Act *act, bool done, PyObject *error)
{
    /* Acquire: pairs with the exchange in set_wait_hook. */
    PyObject *hook = atomic_load_explicit(&self->state->wait_hook, memory_order_acquire);
    uint64_t began = slept_since(act);
    if (hook == NULL || began == 0 || in_hook)
        return;
    bool acquires = act->take == NULL || act->take == self->take;
    unsigned long long now = il_clock_wall_ns(), waited = il_clock_ns() - began;
    in_hook = true;
    PyObject *told = PyObject_CallFunction(hook, "OKKOOO", self, now - waited, now, done ? Py_True : Py_False,
                                           error != NULL ? error : Py_None, acquires ? Py_True : Py_False);
    in_hook = false;
    if (told == NULL)
        put_off(hook);
    Py_XDECREF(told);
}

int act_over(Handle *self, const Act *act, int result)
{
    PyObject *type, *error, *traceback;
    if (slept_since(act) == 0 || atomic_load_explicit(&self->state->wait_hook, memory_order_relaxed) == NULL)
        return result;
    PyErr_Fetch(&type, &error, &traceback);
    if (type != NULL)
        PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    tell_wait(self, act, result == ACT_DONE, error);
    PyErr_Restore(type, error, traceback);
    return result;
}

int go_through(Handle *self, Act *act, int (*take)(Handle *, Act *))
{
    return act_over(self, act, take(self, act));
}

/* --- taking --- */

typedef struct {
    lock_function lock;
    const Act *act;
} taking;

static int take_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    const taking *how = argument;
    /* Asked for each time: a signal handler may have forked. */
    return how->lock(space, &il_ref_cell(space, ref)->mutex, il_ref_key(ref), token_of(how->act), wait);
}

int take_bare(Handle *self, lock_function lock, Act *act, bool deaf, il_ref *taken)
{
    taking how = {lock, act};
    return act_result(perform_with(self, take_once, &how, shown(self, act, deaf), deaf, taken));
}

static int take_with(Handle *self, lock_function lock, Act *act, bool deaf, il_ref *taken)
{
    int result = take_bare(self, lock, act, deaf, taken);
    return result == ACT_DONE && act->wait.orphan && self->on_recover != NULL ? recover(self, *taken) : result;
}

int take(Handle *self, lock_function lock, Act *act, il_ref *taken)
{
    return take_with(self, lock, act, false, taken);
}

int take_deaf(Handle *self, lock_function lock, Act *act, il_ref *taken)
{
    return take_with(self, lock, act, true, taken);
}
