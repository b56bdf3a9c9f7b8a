# Types of request_log_c, which is request_log_py.py compiled.
cimport cython

from cello._speedups.calls_c cimport fine_seconds
from cello._speedups.request_c cimport Request

cdef Py_ssize_t MAX_WAITING, MAX_TARGET_BYTES
cdef object _find_unsafe
cdef dict _COLOURS


@cython.final
cdef class RequestLog:
    cdef list _entries
    cdef object _when_full
    cdef public bint has_agents

    @cython.locals(now=double, known=Request)
    cpdef add(self, double began_at, object client, str method, bytes target, int status, Py_ssize_t size,
              object request)
    cpdef list take(self)


cpdef str escape(bytes octets)

@cython.locals(
    lines=list, entry=tuple, at=double, seconds=double, wall=double, second=long, stamp=str, client=str, method=str,
    target=bytes, status=int, size=Py_ssize_t, tenths=long, shown=str
)
cpdef str render_entries(list entries, double wall_offset, bint is_coloured)
