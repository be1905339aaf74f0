/* The Python face of the engine: arguments, the GIL, and the translation of codes into exceptions; nothing else. */
#ifndef INTERLOCK_BINDING_H
#define INTERLOCK_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "il_engine.h"

/* Thread-local storage that needs no call to find; not on musl, whose loader refuses it in a library loaded late. */
#if defined(__GLIBC__)
#define THREAD_LOCAL _Thread_local __attribute__((visibility("hidden"), tls_model("initial-exec")))
#else
#define THREAD_LOCAL _Thread_local __attribute__((visibility("hidden")))
#endif

typedef struct {
    PyTypeObject *ready_type, *waiter_type;
    PyObject *ready_true, *ready_none;
    PyTypeObject *space_type, *handle_type, *locklike_type, *mapping_type, *data_type;
    PyObject *exception_of;  /* interlock.errors.from_engine */
    PyObject *owner_of;      /* interlock.records.owner_of */
    PyObject *timeout_of;    /* interlock.locklike.timeout_of: the AcquireTimeout for hold() */
    PyObject *find_space;    /* interlock.space.find: a Space from None or a URL */
    PyObject *tell_deadlock; /* interlock.space.tell_deadlock(handle, raises, cycle): logs it, or raises */
    PyObject *hub_module;    /* "gevent.monkey" */
    PyObject *hub_sleep;     /* interlock.hub.sleep(waiter); NULL while threads are threads */
    /* Of interlock.aio and asyncio, or of interlock.hub; NULL until tasks matter. */
    PyObject *loop_key;      /* under which asyncio notes a thread's loop in its dictionary; NULL where it does not */
    PyObject *running_loop;  /* asyncio._get_running_loop() */
    PyObject *current_task;  /* asyncio.current_task(loop) */
    PyObject *token_of_task; /* token_of(task) */
    PyObject *last_task;     /* a weak reference to the task that was asked about last … */
    uint64_t last_token;     /* … and its token */
    PyObject *settle;        /* settle(waiter): a coroutine that waits for it */
    PyObject *settle_hold;   /* settle_hold(waiter or False, lock, timeout, blocking): the same for hold() */
    _Atomic(PyObject *) wait_hook; /* see set_wait_hook(); NULL: none. What was one once is never freed */
    _Atomic(PyObject *) default_space; /* NULL until first used; never another after that */
} ModuleState;

extern struct PyModuleDef engine_module;

/* A space as its users hold it. Several may stand for one segment of this process. */
typedef struct {
    PyObject_HEAD
    il_space *segment; /* NULL until opened */
    il_u32 *self;      /* the segment's slot, or a word of zero once closed: so closing costs the fast path nothing */
    il_cell *cells;
    PyObject *weakrefs;
    uint8_t manner;    /* what is to become of a deadlock: IL_MANNER_LOGS, _RAISES, or 0 */
} SpaceObject;

struct Handle;

/* One blocking call of a primitive: what a thread that sleeps in it has on its stack, and a task that waits in it keeps. */
typedef struct Act {
    int (*take)(struct Handle *, struct Act *);      /* its next step; returns ACT_… */
    bool (*abandon)(struct Handle *, struct Act *);  /* it is given up while pending; true: it goes on to a good end first. NULL: nothing
                                                      * has to be done */
    PyObject *(*undo)(PyObject *, PyObject *);       /* gives back what it got. NULL: nothing */
    il_wait wait;   /* wait.listens: a task's, which comes back with ACT_PENDING instead of sleeping */
    uint64_t token; /* of the task in charge; 0: this thread is */
    il_ref ref;     /* for kinds that wait more than once: where … */
    il_ticket ticket;
    int64_t depth;
    uint64_t span_ns; /* how long it may wait, where that counts from a later stage on; IL_FOREVER */
    uint64_t began_ns; /* when an earlier one of its waits began, which slept; 0: none did */
    uint32_t place, entered;
    int code;
    uint8_t stage; /* … and how far it is */
    bool failed;   /* it is only being brought to a good end */
} Act;

/* What comes of a step of an act. An exception is set with ACT_FAILED alone. */
enum { ACT_FAILED = -1, ACT_NOT_IN_TIME = 0, ACT_DONE = 1, ACT_PENDING = 2 };

/* A handle: a name in a space. Kinds differ in their methods only. */
typedef struct Handle {
    PyObject_HEAD
    il_u64 ref; /* il_ref; 0 until found. Atomic, because threads look it up again on their own */
    SpaceObject *space;
    ModuleState *state; /* of its type's module */
    PyObject *name;
    PyObject *on_recover; /* NULL: none */
    PyObject *weakrefs;
    int (*take)(struct Handle *, Act *);       /* kinds that can be acquired; returns ACT_… */
    int (*at_once)(struct Handle *, uint64_t *agent); /* … if that takes no more than a moment, else ACT_PENDING; and Act.token.
                                                       * NULL: not worth trying */
    PyObject *(*give)(PyObject *, PyObject *); /* … and their release */
    bool (*abandon)(struct Handle *, Act *);   /* see Act */
    il_u64 share;       /* il_share, of kinds that have them … */
    il_u32 share_slot;  /* … and the process slot whose it is: a forked child finds its own */
    uint64_t parameter; /* the kind's size or bound */
    uint32_t made_at;   /* how often this process had forked when the handle made up its name, see `rooted` … */
    uint32_t made_by;   /* … and its process slot */
    il_u32 looked_at;   /* 1 + how often this process had forked when its first wait looked for gevent */
    uint8_t kind;
    uint8_t rules; /* RULES_… */
    bool foreign_release;
    bool rooted; /* anonymous, made here and pickled for nobody: if this process has not forked either, it has no other handle */
} Handle;

extern PyType_Spec ready_spec, waiter_spec, port_spec;
extern PyType_Spec space_spec, handle_spec, locklike_spec, lock_spec, rlock_spec, hold_spec, semaphore_spec, event_spec, condition_spec,
    barrier_spec, read_lock_spec, write_lock_spec, bounded_spec, mapping_spec, data_spec, value_spec, array_spec;

/* The state of the module that defined the handle's type. */
ModuleState *state_of(PyTypeObject *type);

/* This process, as the engine sees it. */
extern il_process this_process;

/* Sets the Python exception for an engine code. `handle` may be NULL. Always returns NULL.
 *
 * What the binding itself says by `error`: IL_PARAMETER: `wanted` is the parameter of the object in use, if `found` says that
 * it is known; IL_NOT_HELD: this process has `found` permits, and not the `wanted` ones, or (0) process `found` has taken it
 * away, as for IL_NOT_OWNER; IL_NO_SPACE_FILE: `found`: it is there,
 * and this Space was closed. */
PyObject *raise_code(ModuleState *state, int code, SpaceObject *space, Handle *handle, const il_error *error,
                     uint8_t found_kind);

/* The same for a space that is not open: `file` is its path, or NULL. */
PyObject *raise_at(ModuleState *state, int code, const char *file, Handle *handle, const il_error *error,
                   uint8_t found_kind);

/* --- space.c --- */

/* The segment of an open Space. NULL with an exception. */
il_space *segment_of(SpaceObject *self);

/* A name as a method of a Space is given it, with the open segment; of what cannot be a name, the length is 0. NULL with an exception. */
const char *name_given(SpaceObject *self, PyObject *given, il_space **segment, size_t *length);

/* --- data.c --- */

void data_before_fork(void);
void data_after_fork(void);
/* At the end of the interpreter: forgets the anonymous objects that no other process has. */
void data_at_exit(void);

/* --- agent.c --- */

/* This thread's token: a number no other thread of this process ever had << 32 | its kernel thread id. 0: not made yet;
 * a forked child makes new ones. */
extern THREAD_LOCAL uint64_t thread_token;
uint64_t new_token(void);
/* One more of the kind, for a task of this thread. */
uint64_t next_token(void);
/* Whether it is the thread that runs Python's signal handlers. Valid once the token is made. */
extern THREAD_LOCAL bool thread_is_main;

static inline uint64_t this_token(void)
{
    uint64_t token = thread_token;
    return token != 0 ? token : new_token();
}

/* Set once a task has taken a kind that asks which thread or task it belongs to. */
extern il_u32 tasks_matter;
/* Set once a task has waited for anything: from then on notes of who reads tell tasks apart. */
extern il_u32 tasks_act;
/* The token of the task on whose behalf this thread acts just now; 0: of nobody else. */
extern THREAD_LOCAL uint64_t acting_for;
uint64_t find_agent(struct Handle *self);

/* The token of the task that runs in this thread, or of the thread. 0 with an exception. A process that has no slot yet has just
 * begun, or been forked: gevent may have replaced its threads since. */
static inline uint64_t agent_token(Handle *self)
{
    bool simple = !il_load_relaxed(&tasks_matter) && il_load_relaxed(self->space->self) != 0;
    return simple ? this_token() : find_agent(self);
}

static inline uint64_t token_of(const Act *act)
{
    return act->token != 0 ? act->token : this_token();
}

/* Whether a task is asked for the like of a thread's token. Values and Arrays are re-entrant locks, too. */
bool knows_tasks(const Handle *self);
/* Whether tasks count as owners from now on. 0, or -1 with an exception. */
int tasks_begin(Handle *self);
/* The same for a handle that is made where asyncio is there: a plain `with` in a coroutine is to be the task's, too. */
int tasks_may_come(Handle *self);
/* Finds out whether gevent has replaced the threads. 0, or -1 with an exception. */
int hub_look(ModuleState *state);

/* --- handle.c --- */

/* How often this process has forked. */
extern il_u32 forks;
/* … and of how many forks it is the child, or the child's child. */
extern il_u32 forked_from;

/* Sets the exception for the use of a Space that was closed, `handle` may be NULL. */
void raise_closed(SpaceObject *space, Handle *handle);

/* 0, or -1 with an exception when the handle's space was closed. */
int check_open(Handle *self);

/* Makes NULL of None. -1 with an exception when it is something else that cannot be called. */
int check_on_recover(PyObject **given);

/* A lock-like handle, from Python's arguments. */
PyObject *handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs, uint8_t kind,
                     int (*take_it)(Handle *, Act *), PyObject *(*give_it)(PyObject *, PyObject *));

/* -1 with an exception when the name is a number: where one has to follow, it was forgotten. */
int check_not_forgotten(PyTypeObject *type, uint8_t kind, PyObject *name);

/* A handle of a kind; name and space may be NULL or None. NULL with an exception. */
Handle *handle_make(PyTypeObject *type, PyObject *name, PyObject *space, uint8_t kind, uint64_t parameter);

/* An exception was set while another one was under way, which becomes its context. Takes the references. */
void chain_error(PyObject *type, PyObject *value, PyObject *traceback);

/* This process's share of the handle's object, found or made if need be: IL_OK, or an engine code; within `wait`, or (NULL) however
 * long it takes. */
int share_of(Handle *self, il_ref ref, const il_wait *wait, il_share *share);

static inline il_share kept_share(Handle *self)
{
    /* Acquire: pairs with the release in share_of. */
    uint32_t slot = il_load_acquire(&self->share_slot);
    return slot != 0 && slot == il_load_relaxed(self->space->self) ? il_load_relaxed(&self->share) : 0;
}

/* Forgets an object that nobody else has a handle of, unless its stripe is taken. */
void forget_object(il_space *segment, il_ref ref, bool with_data);

/* A task gives up waiting for the handle's mutex. */
bool lock_abandon(Handle *self, Act *act);

/* What is known of the owner who died holding it, as a record. */
PyObject *dead_owner(Handle *self, il_ref ref);

/* Lets on_recover repair what a dead owner left. 1, or -1 with an exception: then the lock is free again, and still marked. */
int recover(Handle *self, il_ref ref);

/* For kinds that keep more than a handle does. */
int handle_traverse(PyObject *object, visitproc visit, void *arg);
int handle_clear(PyObject *object);
void handle_dealloc(PyObject *object);

/* Where the handle's name is now, for questions and releases: looked up again if its cell was given away. 0: nowhere, so
 * nobody has it, unless `failed` is -1 and an exception is set. */
il_ref present_ref(Handle *self, int *failed);

/* Turns the result of a release into None or an exception. */
PyObject *released(Handle *self, int code);

/* Finds or makes the handle's cell, whose reference `seen` is stale. `wait` says for how long the table may be waited for. 0,
 * or -1 with an exception, or a code of IL_BUSY, IL_TIMEDOUT and IL_INTERRUPTED, which are the caller's to judge. */
int resolve(Handle *self, il_ref seen, il_wait *wait);

/* --- wait.c --- */

/* Whose rules the arguments of acquire() follow. They differ in what they make of a timeout that is not positive, and of one
 * that comes with blocking=False. */
enum {
    RULES_LOCK,            /* threading.Lock's: -1 is for ever, other negative ones and any with blocking=False are refused */
    RULES_SEMAPHORE,       /* threading.Semaphore's: what is not positive is "now", one with blocking=False is refused */
    RULES_MULTIPROCESSING, /* multiprocessing's: what is not positive is "now", one with block=False is ignored */
};

/* Parses (blocking=True, timeout=None); `blocking` may be called `block`. */
int parse_acquire(Handle *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, uint64_t *deadline);

/* The deadline of a `timeout` as threading.Event.wait has it: None is for ever, and what is not positive is "now". */
int lenient_deadline(PyObject *timeout, uint64_t *deadline);

/* A wait of this thread to a deadline. */
il_wait wait_until(uint64_t deadline);

/* What an engine function does with the object that a handle refers to. */
typedef int (*operation)(il_space *, il_ref, il_wait *, void *argument);

/* Calls it with the GIL released, unless `wait` says not to wait or to listen; in a greenlet, with its hub running. IL_INTERRUPTED:
 * signal handlers are to be let run. PERFORM_FAILED: an exception is set. */
int call_asleep(Handle *self, operation call, il_ref ref, il_wait *wait, void *argument);

/* Does it, with the GIL released unless `wait` says not to wait; looks the name up again when it has moved, and lets signal
 * handlers run. Returns IL_OK, IL_BUSY or IL_TIMEDOUT, or another code of the operation that is none of the engine's
 * failures; PERFORM_FAILED: an exception is set. `where` is what the operation was done on. */
int perform(Handle *self, operation call, void *argument, il_wait *wait, il_ref *where);
/* The same for what takes no time but that of the engine's own locks: with the GIL held if it can be. */
int perform_quickly(Handle *self, operation call, void *argument, il_ref *where);
enum { PERFORM_FAILED = 1 }; /* above all codes of the engine, which are not positive */

/* What perform returned, as an ACT_… */
static inline int act_result(int code)
{
    return code == PERFORM_FAILED ? ACT_FAILED : code == IL_OK ? ACT_DONE : code == IL_PENDING ? ACT_PENDING : ACT_NOT_IN_TIME;
}

/* The deadline of (blocking, timeout), either of which may be NULL. 0, or -1 with an exception. */
int deadline_from(PyObject *blocking, PyObject *timeout, uint64_t *deadline);

typedef int (*lock_function)(il_space *, il_mutex *, uint64_t key, uint64_t holder, il_wait *);

/* Takes the handle's mutex the long way. Returns ACT_…; if it is done, `taken` is where. */
int take(Handle *self, lock_function lock, Act *act, il_ref *taken);

/* The same without on_recover; `deaf`: without letting signal handlers run. */
int take_bare(Handle *self, lock_function lock, Act *act, bool deaf, il_ref *taken);

/* As take, without letting signal handlers run. */
int take_deaf(Handle *self, lock_function lock, Act *act, il_ref *taken);

/* An act of this thread, to a deadline. */
Act act_until(uint64_t deadline);

/* When the act began to wait, if it slept, else 0. */
static inline uint64_t slept_since(const Act *act)
{
    return act->began_ns != 0 || !act->wait.slept ? act->began_ns : act->wait.began_ns;
}

/* Of an exception that must not be raised here: it goes to sys.unraisablehook. But Ctrl-C, an exit, or what else a signal handler of the
 * main thread raised was meant for the program, and is raised there as soon as that goes on, and knows what it holds. */
void put_off(PyObject *where);

/* An act has ended, by which its thread or task may have slept: tells the hook for waits, if there is one. Whatever becomes of that,
 * what the act has got is not lost. `error` may be NULL. */
void tell_wait(Handle *self, const Act *act, bool done, PyObject *error);
/* The same for an act of this thread, with what came of it, which it returns. An exception that is set stays set. */
int act_over(Handle *self, const Act *act, int result);
/* Takes the one step that an act of this thread has, and then the same. */
int go_through(Handle *self, Act *act, int (*take)(Handle *, Act *));

/* --- task.c --- */

/* Takes the first step of an act in a task. ACT_PENDING: `waiter` is the rest of it. */
int begin_act(Handle *self, Act *act, PyObject **waiter);
/* What a method of the asynchronous face returns for what begin_act said: the result, or the Waiter. */
PyObject *begun(Handle *self, Act *act);
PyObject *ready(ModuleState *state, PyObject *value);
/* __aenter__ and __aexit__ of kinds that can be acquired. */
PyObject *handle_aenter(PyObject *object, PyObject *unused);
PyObject *handle_aexit(PyObject *object, PyObject *const *args, Py_ssize_t nargs);

/* Lets the hub run until it is time to look at the wait again. IL_OK, or PERFORM_FAILED with an exception. */
int hub_sleep(Handle *self, const il_wait *wait);
/* --- watch.c: who waits for whom --- */

/* What an act's wait shows to others once it takes long; its deadlocks raise unless it is `deaf`. Before each step. */
il_wait *shown(Handle *self, Act *act, bool deaf);
/* A wait that the engine has let come back. 0, or -1 with an exception, of a signal handler or for a deadlock; the wait has ended
 * then. */
int look_after(Handle *self, il_wait *wait, bool deaf);
/* This thread is about to wait for ever for a Lock that it has itself. 0, or -1 with an exception. */
int tell_own_lock(Handle *self, il_wait *wait);
/* Waits in the engine for a stripe, letting signals in. */
#define WITH_SIGNALS(code, call)                                                                                       \
    do {                                                                                                               \
        Py_BEGIN_ALLOW_THREADS;                                                                                        \
        (code) = (call);                                                                                               \
        Py_END_ALLOW_THREADS;                                                                                          \
    } while ((code) == IL_INTERRUPTED && PyErr_CheckSignals() == 0)

/* An owner as interlock.records.owner_of takes it: (pid, thread, program, host, since, died, PID namespace); times in ns. */
PyObject *owner_row(const il_owner *owner, uint64_t died_ns);
/* _look(), _glance() and _portions() of a Space (look.c); _named(), _waits(), _cycles() and _processes() (watch.c). */
PyObject *space_look(PyObject *object, PyObject *given);
PyObject *space_glance(PyObject *object, PyObject *unused);
PyObject *space_named(PyObject *object, PyObject *ref);
PyObject *space_portions(PyObject *object, PyObject *unused);
PyObject *space_waits(PyObject *object, PyObject *unused);
PyObject *space_cycles(PyObject *object, PyObject *unused);
PyObject *space_processes(PyObject *object, PyObject *unused);

/* --- subclass.c: __init_subclass__ of the base of all handles --- */

PyObject *handle_init_subclass(PyObject *class, PyObject *args, PyObject *kwargs);

/* --- semaphore.c --- */

/* A number of permits; `least` is the smallest that is meant. -1 with an exception. */
long permits_from(PyObject *given, long least, const char *complaint);
/* The n of release(n=1). -1 with an exception. */
long parse_release(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* --- rwlock.c --- */

/* In a forked child, which reads nothing. */
void forget_reads(void);
/* Notes what whoever waits reads meanwhile, unless that is noted already. */
void show_reads(il_space *space, il_wait *wait);

/* --- lock.c, rlock.c --- */

int lock_at_once(Handle *self, uint64_t *agent);
int rlock_at_once(Handle *self, uint64_t *agent);
int lock_take(Handle *self, Act *act);
int rlock_take(Handle *self, Act *act);
int lock_take_until(Handle *self, uint64_t deadline);
int rlock_take_until(Handle *self, uint64_t deadline);
PyObject *lock_release(PyObject *object, PyObject *unused);
PyObject *rlock_release(PyObject *object, PyObject *unused);
/* The same, and if a dead owner left it, the next one is told as well. */
PyObject *rlock_release_marked(Handle *self);
/* The token under which this thread, or the task that runs in it, has the re-entrant lock if it has: the thread's own is asked for
 * first, which costs least. (It is a task's as well: by `with` in a coroutine, on a handle older than the import of asyncio.) 0
 * with an exception. */
uint64_t rlock_token(Handle *self);
/* How often the owner with this token has it; -1 with an exception, also for the token 0. `ref` is where. */
int64_t rlock_depth(Handle *self, uint64_t token, il_ref *ref);

static inline il_mutex *mutex_of(Handle *self, il_ref ref)
{
    return &self->space->cells[(uint32_t)ref].mutex;
}

/* Tries the one compare-and-swap that suffices when nobody has the lock. */
static inline bool take_fast(Handle *self, il_ref ref, uint64_t token)
{
    return il_mutex_try_fast(mutex_of(self, ref), il_ref_key(ref), il_load_relaxed(self->space->self), token);
}

#endif
