"""Calling a handler in a context of its own, and what is seen of the call, in C; the twin of calls_py.

PERF: entering a context through the C API takes 300 instructions less than Context.run, and the kernel's
coarse clock (resolution 1 to 10 ms, read without a system call) 150 less than time.monotonic, twice a
request. The audit hook is called for every audit event of the process, so it is one look at a letter for most.
"""

from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from asyncio import _get_running_loop, _set_running_loop
from time import monotonic

cdef extern from *:
    """
    #include <string.h>
    #include <time.h>
    #if defined(__linux__)
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/resource.h>
    #endif
    #if defined(_MSC_VER)
    #define CELLO_LOCAL __declspec(thread)
    #else
    #define CELLO_LOCAL __thread
    #endif

    #if defined(CLOCK_MONOTONIC_COARSE)
    static double cello_coarse_seconds(void) {
        struct timespec now;
        if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) != 0) return -1.0;
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    #else
    static double cello_coarse_seconds(void) { return -1.0; }
    #endif

    #if defined(CLOCK_MONOTONIC) && !defined(_MSC_VER)
    static double cello_fine_seconds(void) {
        struct timespec now;
        if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return -1.0;
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    #else
    static double cello_fine_seconds(void) { return -1.0; }
    #endif

    static long cello_switches(void) {
    #if defined(RUSAGE_THREAD)
        struct rusage usage;
        if (getrusage(RUSAGE_THREAD, &usage) == 0) return usage.ru_nvcsw;
    #endif
        return 0;
    }

    static CELLO_LOCAL long cello_waits = 0;

    static const char *const cello_waiting[] = {
        "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
        "socket.getnameinfo", "subprocess.Popen", "os.system", "os.posix_spawn", "sqlite3.connect",
        "fcntl.flock", "fcntl.lockf", "time.sleep", NULL
    };

    static int cello_on_event(const char *event, PyObject *args, void *unused) {
        const char *const *each;
        char first = event[0];
        if (first != 's' && first != 'o' && first != 'f' && first != 't') return 0;
        for (each = cello_waiting; *each != NULL; each++) {
            if (strcmp(event, *each) == 0) {
                cello_waits++;
                return 0;
            }
        }
        return 0;
    }

    /* Python 3.11 asks the system for the process's id each time that the running loop is set or asked for:
       three system calls a request. There, asyncio keeps the loop in a holder in the thread's dict; hiding the
       loop is a change of what that holds. Later versions are quick by themselves. */
    typedef struct {
        PyObject_HEAD
        PyObject *loop;
    #if !defined(_MSC_VER)
        int pid;
    #endif
    } cello_holder;

    static PyTypeObject *cello_holder_type = NULL;
    static PyObject *cello_holder_key = NULL;

    static cello_holder *cello_find_holder(void) {
        PyObject *all = PyThreadState_GetDict();
        PyObject *found = all == NULL ? NULL : PyDict_GetItem(all, cello_holder_key);
        if (found == NULL || Py_TYPE(found) != cello_holder_type) return NULL;
        return (cello_holder *)found;
    }

    /* Takes what asyncio has just been told to hold, and learns the holder's type if it is as expected. */
    static int cello_learn_holder(PyObject *told) {
    #if PY_VERSION_HEX < 0x030C0000 && !defined(PYPY_VERSION)
        PyObject *all = PyThreadState_GetDict();
        PyObject *found;
        cello_holder_key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
        if (all == NULL || cello_holder_key == NULL) return 0;
        found = PyDict_GetItem(all, cello_holder_key);
        if (found == NULL || Py_TYPE(found)->tp_basicsize != sizeof(cello_holder)) return 0;
        if (((cello_holder *)found)->loop != told) return 0;
        cello_holder_type = Py_TYPE(found);
        Py_INCREF(cello_holder_type);
        return 1;
    #else
        return 0;
    #endif
    }

    /* Returns a new reference to the loop that was in sight, or NULL where that is to be done by asyncio. */
    static PyObject *cello_hide_loop(void) {
        cello_holder *holder = cello_holder_type == NULL ? NULL : cello_find_holder();
        PyObject *loop;
        if (holder == NULL) return NULL;
        loop = holder->loop;
        Py_INCREF(Py_None);
        holder->loop = Py_None;
        return loop;
    }

    /* Steals the reference; a handler may have had a loop of its own in the meantime, in another holder. */
    static int cello_show_loop(PyObject *loop) {
        cello_holder *holder = cello_find_holder();
        PyObject *other;
        if (holder == NULL) return 0;
        other = holder->loop;
        holder->loop = loop;
        Py_DECREF(other);
        return 1;
    }

    static int cello_watch(void) { return PySys_AddAuditHook(cello_on_event, NULL); }
    """
    double cello_coarse_seconds() noexcept
    double cello_fine_seconds() noexcept
    long cello_switches() noexcept
    long cello_waits
    int cello_watch() except -1
    int cello_learn_holder(object told)
    PyObject *cello_hide_loop()
    int cello_show_loop(PyObject *loop)


cdef bint learn_holder():
    """Find out whether the loop can be hidden without a system call; else asyncio's functions are called."""
    before = _get_running_loop()
    told = object()
    _set_running_loop(told)
    try:
        return cello_learn_holder(told)
    finally:
        _set_running_loop(before)


cdef bint is_quick = learn_holder()
cdef bint is_watching = False


cpdef object new_context():
    """Return a copy of the current context."""
    return PyContext_CopyCurrent()


cpdef object call_in(object context, object function, object argument):
    """Call ``function(argument)`` in a context: what it sets there is nobody else's."""
    PyContext_Enter(context)
    try:
        return function(argument)
    finally:
        PyContext_Exit(context)


cpdef object call_hidden(object context, object function, object argument):
    """Call in a context with the running loop out of sight; see the twin."""
    cdef PyObject* hidden = cello_hide_loop() if is_quick else NULL
    if hidden == NULL:
        return call_hidden_slowly(context, function, argument)
    try:
        return call_in(context, function, argument)
    finally:
        if not cello_show_loop(hidden):  # no holder is there any more: only asyncio can make one
            _set_running_loop(<object>hidden)
            Py_DECREF(<object>hidden)


cdef object call_hidden_slowly(object context, object function, object argument):
    loop = _get_running_loop()
    _set_running_loop(None)
    try:
        return call_in(context, function, argument)
    finally:
        _set_running_loop(loop)


cpdef double coarse_seconds() except? -1:
    """Return monotonic seconds, on the base of time.monotonic and a few milliseconds behind it at most."""
    cdef double now = cello_coarse_seconds()
    if now >= 0.0:
        return now
    return monotonic()  # no such clock on this platform


cpdef double fine_seconds() except? -1:
    """Return monotonic seconds, on the base of time.monotonic."""
    cdef double now = cello_fine_seconds()
    if now >= 0.0:
        return now
    return monotonic()


cpdef long waits() noexcept:
    """Count the waiting operations that this thread has begun; see the twin."""
    return cello_waits


cpdef note_wait():
    """Count an operation of this thread that waits, and that no audit event tells of."""
    global cello_waits
    cello_waits += 1


cpdef watch_waits():
    """Begin to count waiting operations, in all threads."""
    global is_watching
    if not is_watching:
        is_watching = True
        cello_watch()


cpdef long switches() noexcept:
    """Count how often this thread gave up the processor by itself; 0 where the system does not say."""
    return cello_switches()
