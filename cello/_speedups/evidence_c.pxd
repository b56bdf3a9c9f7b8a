# Types of evidence_c, which is evidence_py.py compiled.
cimport cython

cdef int INLINE, THREAD
cdef Py_ssize_t BANNED_CALLS, FORGIVEN_CALLS, LATE_CALLS, MAX_SWITCHED, PROBATION_CALLS, PROBATION_FACTOR
cdef double FAST_SECONDS, LATE_SECONDS, SLOW_SECONDS, STALL_SECONDS


@cython.final
cdef class Evidence:
    cdef Py_ssize_t _bound_1
    cdef Py_ssize_t _bound_2
    cdef Py_ssize_t _bound_3
    cdef Py_ssize_t _bound_4
    cdef Py_ssize_t _bound_5
    cdef Py_ssize_t _bound_6
    cdef Py_ssize_t _bound_7
    cdef object _coin
    cdef Py_ssize_t _last_late
    cdef Py_ssize_t _late_before
    cdef double _longest
    cdef Py_ssize_t _promoted_at
    cdef Py_ssize_t _row_calls
    cdef Py_ssize_t _row_fast
    cdef Py_ssize_t _row_switched
    cdef public Py_ssize_t calls
    cdef public Py_ssize_t changes
    cdef public int lane
    cdef public Py_ssize_t probation_calls
    cdef public str reason
    cdef public dict running

    cpdef bint note_inline(self, double seconds, bint has_waited) except -1
    @cython.locals(allowed=Py_ssize_t)
    cpdef bint note_thread(self, double seconds, bint has_switched, bint has_waited, double longest_running=*) except -1
    @cython.locals(before=int)
    cdef bint _toss(self) except -1
    cdef bint _promote(self) except -1
    cdef bint _demote(self, str reason) except -1
    cdef _ban(self)
    cdef _begin_again(self, str reason)
    cdef _begin_row(self)
    cdef _count(self, double seconds)
