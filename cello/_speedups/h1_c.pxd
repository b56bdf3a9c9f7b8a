# Types of h1_c, which is h1_py.py compiled.
cimport cython

from cello._speedups.calls_c cimport fine_seconds
from cello._speedups.h1_reader_c cimport MessageReader
from cello._speedups.h1_send_c cimport SendSide, Service
from cello._speedups.request_c cimport Request, make_request
from cello._speedups.request_log_c cimport RequestLog

cdef int BODY, CLOSED, COMPLETE, END, HEAD, IDLE, LINGER, NOTHING, OPEN, PIECE
cdef Py_ssize_t DISCARD_BYTES
cdef double LINGER_SECONDS, STOP_SECONDS


cdef class H1Connection(SendSide):
    cdef bint _is_fresh
    cdef Py_ssize_t _stalled_bytes
    cdef double _unread_since
    cdef public double began_at
    cdef public object client
    cdef public double idle_since

    cdef bint _is_cut_off(self) except -1
    @cython.locals(position=Py_ssize_t, size=Py_ssize_t, state=int, event=int, reader=MessageReader)
    cdef _advance(self, bytes data)
    @cython.locals(service=Service)
    cdef _note_start(self)
    cdef _handle(self, int event)
    @cython.locals(reader=MessageReader, pieces=list)
    cdef _take_pieces(self)
    cdef _resume(self)
    @cython.locals(reader=MessageReader, request=Request)
    cdef _begin(self)
    cdef _find_client(self)
    cdef _message_done(self)
    cdef _await_answer(self, object exchange)
    cdef _reject(self, int status, str detail)
    @cython.locals(reader=MessageReader)
    cdef _make_refused(self)
    cdef _answer_done(self)
    @cython.locals(log=RequestLog)
    cdef _log_answer(self)
    @cython.locals(reader=MessageReader)
    cdef _next_message(self)
    @cython.locals(service=Service)
    cdef _rest(self)
    @cython.locals(state=int)
    cpdef expire(self)
    cpdef give_back(self, double seconds)
    @cython.locals(due=double)
    cdef bint _has_time_left(self, double now) except -1
    cdef _end_events(self)
    cdef _expire_idle(self, object transport)
    cdef _expire_stall(self, object transport)
    cdef _expire_unread(self, object transport)
