# Types of h1_send_c, which is h1_send_py.py compiled.
cimport cython

from cello._speedups.dispatch_c cimport Dispatcher
from cello._speedups.h1_reader_c cimport MessageReader, ReaderSettings
from cello._speedups.heads_c cimport is_own
from cello._speedups.request_log_c cimport RequestLog
from cello._speedups.stream_c cimport AnswerStream
from cello._speedups.wire_c cimport chunk as render_chunk, render

cdef int BY_CLOSE, BY_LENGTH, CHUNKED, CLOSED, LINGER, NO_BODY, OPEN
cdef Py_ssize_t LARGE_BODY_BYTES, LARGE_TLS_BODY_BYTES, LINGER_BYTES, OUTPUT_BYTES
cdef Py_ssize_t BACKLOG_BYTES
cdef double EVENT_STREAM_SECONDS


@cython.final
cdef class Service:
    cdef public object admit, refuse, released, note
    cdef public RequestLog log
    cdef public Dispatcher dispatcher
    cdef public ReaderSettings reading
    cdef public set connections
    cdef public bytes common, common_close, common_keep_alive
    cdef public str scheme
    cdef public bint is_stopping
    cdef public Py_ssize_t answered_count
    cdef public double now, tick_seconds, request_seconds, stall_seconds, keep_alive_seconds
    cdef public double request_deadline, idle_deadline

    cpdef move_to(self, double now)
    @cython.locals(connection=SendSide)
    cpdef give_back(self, double seconds)
    @cython.locals(now=double, due=list, connection=SendSide)
    cpdef sweep(self)


cdef class SendSide(AnswerStream):
    cdef object _backlog
    cdef Py_ssize_t _discarded_bytes
    cdef object _drain_waiter
    cdef Py_ssize_t _dropped_bytes
    cdef int _framing
    cdef bint _has_sent_continue
    cdef bint _is_answered
    cdef bint _is_corked
    cdef bint _is_eof
    cdef bint _is_event_stream
    cdef bint _is_keep_alive
    cdef bint _is_reading_paused
    cdef bint _is_streaming
    cdef bint _is_write_paused
    cdef list _output
    cdef Py_ssize_t _output_bytes
    cdef MessageReader _reader
    cdef object _request
    cdef object _sending
    cdef Py_ssize_t _unread_bytes
    cdef bint _wants_body_paused
    cdef object _write_out
    cdef public double deadline
    cdef public object exchange
    cdef public int phase
    cdef public Py_ssize_t sent_bytes
    cdef public Service service
    cdef public double stall_deadline
    cdef public int status
    cdef public object transport

    @cython.locals(common=bytes, size=Py_ssize_t, field=tuple)
    cpdef respond(self, int status, list fields, bytes body, Py_ssize_t length)
    @cython.locals(field=tuple, kept=list)
    cdef list _without_own(self, list fields)
    @cython.locals(service=Service, reader=MessageReader)
    cdef bytes _common(self, int status)
    @cython.locals(service=Service)
    cdef double _stream_deadline(self)
    @cython.locals(reader=MessageReader)
    cdef bint _may_discard(self) except -1
    cdef bint _is_body_coming(self) except -1
    cdef _wake_drain(self)
    cdef _write(self, bytes data)
    @cython.locals(output=list, data=bytes)
    cdef _flush(self)
    cdef _answer_done(self)
    cpdef expire(self)
    cpdef give_back(self, double seconds)
    cdef _cancel(self, str reason)
    @cython.locals(wants_pause=bint)
    cdef _pace(self)
    cdef _drop(self, Py_ssize_t size)
    @cython.locals(service=Service, reader=MessageReader, has_more_coming=bint, seconds=double)
    cdef _close_in_steps(self)
    cdef _close(self)
    cdef _abort(self)


@cython.locals(field=tuple)
cdef bint is_event_stream(list fields) except -1
