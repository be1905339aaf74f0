/* What is known of a name, for those who only ask: nothing here makes a name, or keeps one. */
#include "binding.h"

PyObject *owner_row(const il_owner *owner, uint64_t died_ns)
{
    PyObject *program = PyUnicode_DecodeFSDefault(owner->program), *host = PyUnicode_DecodeFSDefault(owner->host);
    PyObject *row = NULL;
    if (program != NULL && host != NULL)
        row = Py_BuildValue("IIOOKKK", owner->pid, owner->thread, program, host, (unsigned long long)owner->since_ns,
                            (unsigned long long)died_ns, (unsigned long long)owner->pid_space);
    Py_XDECREF(program);
    Py_XDECREF(host);
    return row;
}

/* How many stand in the queue of a condition or barrier, and whether that is broken. */
static int look_at_queue(il_space *segment, const il_facts *facts, uint32_t *waiting, bool *broken)
{
    il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
    int code;
    if (facts->kind == IL_KIND_CONDITION)
        WITH_SIGNALS(code, il_condition_waiters(segment, facts->ref, &wait, waiting));
    else
        WITH_SIGNALS(code, il_barrier_look(segment, facts->ref, &wait, waiting, broken));
    return code;
}

/* _look(name) -> a dict of what is known of it; None: there is no such name. */
PyObject *space_look(PyObject *object, PyObject *given)
{
    SpaceObject *self = (SpaceObject *)object;
    il_space *segment;
    size_t length;
    const char *name = name_given(self, given, &segment, &length);
    il_facts facts;
    il_owner owner;
    uint32_t waiting = 0;
    bool broken = false, again = false;
    int code = IL_STALE, held = IL_NOT_HELD;
    if (name == NULL)
        return NULL;
    while (code == IL_STALE) { /* the name has moved between the looks: all anew */
        il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
        code = IL_ABSENT;
        if (length != 0)
            WITH_SIGNALS(code, il_table_look(segment, name, length, &wait, &facts));
        if (code == IL_OK && (facts.kind == IL_KIND_CONDITION || facts.kind == IL_KIND_BARRIER))
            code = look_at_queue(segment, &facts, &waiting, &broken);
        if (code != IL_OK)
            continue;
        held = il_mutex_owner(segment, &il_ref_cell(segment, facts.ref)->mutex, il_ref_key(facts.ref), &owner);
        if (held != IL_OK && held != IL_NOT_HELD)
            code = held;
        else if (held == IL_NOT_HELD && (facts.half & IL_OWNER) && !again) {
            again = true; /* its owner is dead, perhaps, and nobody had noticed: reaped, the lock is marked */
            if (il_slot_alive(segment, facts.half & IL_OWNER) == 0)
                il_reap(segment, facts.half & IL_OWNER);
            code = IL_STALE;
        }
    }
    if (code == IL_ABSENT)
        Py_RETURN_NONE;
    if (code != IL_OK)
        return code == IL_INTERRUPTED ? NULL : raise_code(state_of(Py_TYPE(self)), code, self, NULL, NULL, 0);
    PyObject *has = held == IL_OK ? owner_row(&owner, 0) : Py_NewRef(Py_None);
    PyObject *had = facts.half & IL_ORPHAN ? owner_row(&facts.dead, facts.dead_ns) : Py_NewRef(Py_None), *row = NULL;
    if (has != NULL && had != NULL)
        row = Py_BuildValue("{sBsKsIsIsKsKsKs(KKId)sOsOsIsO}", "kind", facts.kind, "ref", (unsigned long long)facts.ref, "half",
                            facts.half, "depth", facts.depth, "parameter", (unsigned long long)facts.parameter, "state",
                            (unsigned long long)facts.state, "fence", (unsigned long long)facts.fence, "counts",
                            (unsigned long long)facts.taken, (unsigned long long)facts.contended, facts.recoveries,
                            (double)facts.waited_ns / 1e9, "owner", has, "left_by", had, "waiting", waiting, "broken",
                            broken ? Py_True : Py_False);
    Py_XDECREF(has);
    Py_XDECREF(had);
    return row;
}

/* _glance() -> (reference, kind, slot of the owner, its token, depth, fence), of each name; slot 0: nobody has it just now. */
PyObject *space_glance(PyObject *object, PyObject *Py_UNUSED(unused))
{
    SpaceObject *self = (SpaceObject *)object;
    il_space *segment = segment_of(self);
    il_glance *found = NULL;
    uint32_t room = 0, count;
    if (segment == NULL)
        return NULL;
    while ((count = il_table_glance(segment, found, room)) > room) {
        room = count + 64;
        il_glance *more = PyMem_Realloc(found, room * sizeof *found);
        if (more == NULL) {
            PyMem_Free(found);
            return PyErr_NoMemory();
        }
        found = more;
    }
    PyObject *rows = NULL;
    if (il_load_relaxed(&segment->wiped))
        raise_code(state_of(Py_TYPE(self)), IL_WIPED, self, NULL, NULL, 0);
    else
        rows = PyList_New(count);
    for (uint32_t i = 0; rows != NULL && i < count; i++) {
        PyObject *row = Py_BuildValue("KBIKIK", (unsigned long long)found[i].ref, found[i].kind,
                                      found[i].holder != 0 ? found[i].half & IL_OWNER : 0, (unsigned long long)found[i].holder,
                                      found[i].depth, (unsigned long long)found[i].fence);
        if (row == NULL)
            Py_CLEAR(rows);
        else
            PyList_SET_ITEM(rows, (Py_ssize_t)i, row);
    }
    PyMem_Free(found);
    return rows;
}

/* _portions() -> (reference, slot, how many), of what each process has of RWLocks and BoundedSemaphores. */
PyObject *space_portions(PyObject *object, PyObject *Py_UNUSED(unused))
{
    il_space *segment = segment_of((SpaceObject *)object);
    il_portion *found = NULL;
    uint32_t room = 0, count;
    if (segment == NULL)
        return NULL;
    while ((count = il_portions(segment, found, room)) > room) {
        room = count + 16;
        il_portion *more = PyMem_Realloc(found, room * sizeof *found);
        if (more == NULL) {
            PyMem_Free(found);
            return PyErr_NoMemory();
        }
        found = more;
    }
    PyObject *rows = PyList_New(0);
    for (uint32_t i = 0; rows != NULL && i < count; i++) {
        PyObject *row = Py_BuildValue("KII", (unsigned long long)found[i].object, found[i].slot, found[i].count);
        if (row == NULL || PyList_Append(rows, row) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    PyMem_Free(found);
    return rows;
}
