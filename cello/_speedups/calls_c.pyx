"""Calling a handler in a context of its own, and what is seen of the call, in C; the twin of calls_py.

PERF: entering a context through the C API takes 300 instructions less than Context.run, and the kernel's
coarse clock (resolution 1 to 10 ms, read without a system call) 150 less than time.monotonic, twice a
request. The audit hook is called for every audit event of the process, so it is one look at a letter for most.
"""

from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit

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

    static int cello_watch(void) { return PySys_AddAuditHook(cello_on_event, NULL); }
    """
    double cello_coarse_seconds() noexcept
    double cello_fine_seconds() noexcept
    long cello_switches() noexcept
    long cello_waits
    int cello_watch() except -1

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
