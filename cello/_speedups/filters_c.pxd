# Types of filters_c, which is filters_py.py compiled.
cimport cython

from cello._speedups.request_c cimport Request
from cello._speedups.stream_c cimport AnswerStream


@cython.final
cdef class Filters:
    cdef public object cors
    cdef public list common
    cdef public object compression
    cdef public Py_ssize_t min_bytes
    cdef public bint has_request_ids
    cdef public bint is_selective


cdef class FilteredStream(AnswerStream):
    cdef object _encoder
    cdef Filters _filters
    cdef Request _request
    cdef AnswerStream _stream
    cdef bytes _waiting
    cdef public bint is_pending

    cpdef pass_on(self, int status, list fields, bytes body, Py_ssize_t length)
    @cython.locals(filters=Filters, request=Request, common=list, origin=bytes, is_named=bint, field=tuple)
    cdef list _with_common(self, list fields)
