cimport cython

from cello._speedups.calls_c cimport call_hidden, call_in, coarse_seconds, fine_seconds, new_context, waits
from cello._speedups.evidence_c cimport Evidence
from cello._speedups.filters_c cimport FilteredStream, Filters
from cello._speedups.heads_c cimport has_null
from cello._speedups.request_c cimport Request
from cello._speedups.stream_c cimport AnswerStream

cdef int INLINE, TASK
cdef list JSON_FIELDS

@cython.final
cdef class Endpoint:
    cdef public object call
    cdef public Evidence evidence
    cdef public int lane
    cdef public object route
    cdef public bint is_streaming
    cdef public Py_ssize_t max_request_bytes
    cdef public double timeout_seconds

@cython.final
cdef class Dispatcher:
    cdef public object app
    cdef public object core
    cdef public object encode
    cdef public object match
    cdef public Endpoint unmatched
    cdef public Filters filters

    cpdef object begin(self, Request request, AnswerStream stream)
    @cython.locals(filters=Filters, filtered=FilteredStream)
    cdef object _begin_filtered(self, Request request, AnswerStream stream)
    @cython.locals(raw_path=bytes, found=tuple, endpoint=Endpoint)
    cdef object _begin(self, Request request, AnswerStream stream)
    @cython.locals(started=double, body=bytes, evidence=Evidence)
    cpdef object answer_inline(self, Endpoint endpoint, Request request, AnswerStream stream, object exchange)
    @cython.locals(waits_before=long, begun=double)
    cdef object _call_watched(self, Endpoint endpoint, Evidence evidence, Request request, object context)
    @cython.locals(body=bytes)
    cdef bytes _encode(self, object result)
    cdef object _settle_inline(self, Endpoint endpoint, Request request, AnswerStream stream, object exchange,
                               object result, object context)
    cdef object _begin_exchange(self, Endpoint endpoint, Request request, AnswerStream stream)

@cython.final
cdef class Exchange:
    cdef Dispatcher _dispatcher
    cdef public Endpoint endpoint
    cdef public Request request
    cdef public AnswerStream stream
    cdef public bint has_begun
    cdef public object thread_call
    cdef public bint is_complete
    cdef public bint is_done
    cdef public bint is_gone
    cdef public bint is_started
    cdef public object queued
    cdef public object context
    cdef public double started_at
    cdef object _chunks
    cdef bint _is_paused
    cdef Py_ssize_t _received_bytes
    cdef Py_ssize_t _waiting_bytes
    cdef object _task
    cdef object _waiter

    cpdef start(self)
    @cython.locals(is_uncalled=bint)
    cdef bint _stop(self) except -1
    cdef _wake(self)
