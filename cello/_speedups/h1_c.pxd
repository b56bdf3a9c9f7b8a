cimport cython

from cello._speedups.dispatch_c cimport Dispatcher
from cello._speedups.h1_rules_c cimport Fault
from cello._speedups.heads_c cimport HeadScan, is_own, kind_of, lowered
from cello._speedups.wire_c cimport chunk as render_chunk, render
from cello._speedups.stream_c cimport AnswerStream
from cello._speedups.request_c cimport Request, make_request

@cython.final
cdef class Service:
    cdef public object admit, refuse, released, make_parser, parser_upgrade, note, log
    cdef public set connections
    cdef public HeadScan scan
    cdef public Dispatcher dispatcher
    cdef public bytes common, common_close, common_keep_alive
    cdef public str scheme
    cdef public Py_ssize_t max_fields
    cdef public bint is_stopping
    cdef public double now, tick_seconds, request_seconds, stall_seconds, keep_alive_seconds

    @cython.locals(now=double, earliest=double, due=list, connection=H1Connection)
    cpdef double sweep(self)

cdef class H1Connection(AnswerStream):
    @cython.locals(fields=list, kind=int)
    cpdef on_header(self, bytes name, bytes value)
    cdef public double began_at
    cdef Py_ssize_t body_bytes
    cdef Py_ssize_t body_left
    cdef Py_ssize_t chunk_allowance
    cdef public object client
    cdef object content_length
    cdef public double deadline
    cdef Py_ssize_t discarded_bytes
    cdef object drain_waiter
    cdef Py_ssize_t dropped_bytes
    cdef public object exchange
    cdef bytes expect
    cdef Py_ssize_t extension_bytes
    cdef object fault
    cdef list fields
    cdef Py_ssize_t fields_bytes
    cdef int framing
    cdef object connection
    cdef bint has_input_behind
    cdef bint has_sent_continue
    cdef bint has_upgrade
    cdef bytes host
    cdef Py_ssize_t host_count
    cdef bint is_answered
    cdef bint is_chunk_empty
    cdef bint is_chunk_open
    cdef bint is_chunked
    cdef bint is_corked
    cdef bint is_eof
    cdef bint is_head_parsed
    cdef public bint is_http_11
    cdef public bint is_keep_alive
    cdef bint is_message_complete
    cdef bint is_origin_form
    cdef bint is_parser_spent
    cdef bint has_percent
    cdef bytes raw_path
    cdef bytes raw_query
    cdef bint is_reading_paused
    cdef bint is_streaming
    cdef bint is_write_paused
    cdef bytes last_octets
    cdef bytes known_host
    cdef bytes line
    cdef public str method
    cdef object partial
    cdef public int phase
    cdef public object request
    cdef public Py_ssize_t sent_bytes
    cdef public Service service
    cdef public double stall_deadline
    cdef Py_ssize_t stalled_bytes
    cdef public int status
    cdef public bytes target
    cdef Py_ssize_t trailer_bytes
    cdef Py_ssize_t trailer_count
    cdef bytes transfer_encoding
    cdef public object transport
    cdef bint wants_body_paused
    cdef object _backlog
    cdef Py_ssize_t _blank_octets
    cdef list _output
    cdef Py_ssize_t _output_bytes
    cdef object _parser
    cdef public double idle_since
    cdef public bint is_fresh

    cdef _reset(self)
    cdef bint _is_cut_off(self)
    @cython.locals(position=Py_ssize_t, size=Py_ssize_t, phase=int)
    cdef _advance(self, bytes data)
    cdef _resume(self)
    cdef _finish_eof(self)
    @cython.locals(wants_pause=bint)
    cdef _pace(self)
    cdef _drop(self, Py_ssize_t size)
    @cython.locals(scan=HeadScan, state=int, end=Py_ssize_t, size=Py_ssize_t)
    cdef Py_ssize_t _read_start(self, bytes data, Py_ssize_t position) except -1
    cdef bint _skip_blank(self, int octet) except -1
    @cython.locals(start=Py_ssize_t, line_end=Py_ssize_t, line=bytes, scan=HeadScan)
    cdef Py_ssize_t _read_line(self, bytes data, Py_ssize_t position) except -1
    cdef _take_line(self, HeadScan scan)
    cdef _refuse_line(self, bytes line)
    @cython.locals(last=bytes, joint=bytes, at=Py_ssize_t)
    cdef Py_ssize_t _find_end(self, bytes data, Py_ssize_t position, Py_ssize_t limit) except -2
    cdef _remember(self, bytes data, Py_ssize_t position, Py_ssize_t stop)
    @cython.locals(size=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t)
    cdef Py_ssize_t _read_fields(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(size=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, body_before=Py_ssize_t,
                   trailers_before=Py_ssize_t, allowance_before=Py_ssize_t, cost=Py_ssize_t)
    cdef Py_ssize_t _read_body(self, bytes data, Py_ssize_t position) except -1
    cdef _after_body_piece(self)
    cdef bint _feed(self, bytes piece) except -1
    cdef _note_field(self, int kind, bytes value)
    cdef _count_trailer(self, bytes name, bytes value)
    cdef _stop(self, int status, str detail)
    @cython.locals(authority=bytes, request=Request)
    cdef _head_done(self)
    cdef _check_head(self)
    cdef _ignore_upgrade(self)
    cdef _split_other_form(self, bytes target)
    cdef _refuse_connect(self)
    cdef _find_client(self)
    cdef _begin_with_body(self, Request request)
    cdef _message_done(self)
    cdef _await_answer(self, object exchange)
    cdef _reject_fault(self, object fault)
    cdef _reject(self, int status, str detail)
    @cython.locals(common=bytes, kept=list)
    cpdef respond(self, int status, list fields, bytes body, Py_ssize_t length)
    @cython.locals(service=Service)
    cdef bytes _common(self, int status)
    cdef bint _may_discard(self, int status) except -1
    @cython.locals(field=tuple, kept=list)
    cdef list _without_own(self, list fields)
    cdef _wake_drain(self)
    cdef _write(self, bytes data)
    @cython.locals(output=list, data=bytes)
    cdef _flush(self)
    cdef _answer_done(self)
    cdef _next_message(self)
    cdef _close_in_steps(self)
    cdef _close(self)
    cdef _abort(self)
    cpdef expire(self)
    cdef _expire_idle(self, object transport)
    cdef _expire_stall(self, object transport)
