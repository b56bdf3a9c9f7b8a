# Types of request_log_c, which is request_log_py.py compiled.
cimport cython

from cello._speedups.calls_c cimport fine_seconds
from cello._speedups.log_lines_c cimport LogLines
from cello._speedups.request_c cimport Request

cdef Py_ssize_t MAX_WAITING


@cython.final
cdef class RequestLog:
    cdef Py_ssize_t _count
    cdef list _entries
    cdef bint _has_agents
    cdef LogLines _lines
    cdef object _when_full

    @cython.locals(now=double, seconds=double, address=str, known=Request, lines=LogLines, version=str,
                   request_id=bytes)
    cpdef add(self, double began_at, object client, str method, bytes target, int status, Py_ssize_t size,
              object request)
    cpdef list take(self)
