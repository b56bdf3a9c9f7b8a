# Types of h1_reader_c, which is h1_reader_py.py compiled.
cimport cython

from cello._speedups.heads_c cimport HeadScan

cdef int BODY, COMPLETE, END, FIELDS, HEAD, IDLE, LINE, NOTHING, PIECE, REFUSED
cdef int FIELDS_PARTIAL, LINE_BAD, LINE_PARTIAL
cdef Py_ssize_t CHUNK_CREDIT_BYTES, MAX_BLANK_OCTETS, MAX_EXTENSION_BYTES, MAX_FIELDS_BYTES, MAX_LINE_BYTES
cdef Py_ssize_t MAX_TARGET_BYTES, PIECE_BYTES


@cython.final
cdef class ReaderSettings:
    cdef public object make_parser
    cdef public object parser_upgrade
    cdef public Py_ssize_t max_fields
    cdef public HeadScan scan


@cython.final
cdef class MessageReader:
    cdef Py_ssize_t _blank_octets
    cdef Py_ssize_t _body_left
    cdef Py_ssize_t _chunk_allowance
    cdef Py_ssize_t _extension_bytes
    cdef object _feed_parser
    cdef Py_ssize_t _field_count
    cdef object _head
    cdef bint _has_percent
    cdef bint _is_chunk_empty
    cdef bint _is_chunk_open
    cdef bint _is_body_open
    cdef bint _is_chunked
    cdef bint _is_origin_form
    cdef bint _is_parser_spent
    cdef bytes _known_host
    cdef bytes _last_octets
    cdef object _parser
    cdef object _partial
    cdef ReaderSettings _settings
    cdef Py_ssize_t _trailer_bytes
    cdef Py_ssize_t _trailer_count
    cdef public bytes authority
    cdef public Py_ssize_t body_bytes
    cdef public object content_length
    cdef public int event
    cdef public bytes expect
    cdef public object fault
    cdef public Py_ssize_t fields_at
    cdef public bint has_input_behind
    cdef public bytes head
    cdef public Py_ssize_t head_size
    cdef public bint is_http_11
    cdef public bint is_keep_alive
    cdef public bint is_whole
    cdef public str method
    cdef public list pieces
    cdef public bytes raw_path
    cdef public bytes raw_query
    cdef public int state
    cdef public bytes target

    cpdef next_message(self)
    cpdef close(self)
    @cython.locals(state=int)
    cpdef Py_ssize_t read(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(scan=HeadScan, found=int, end=Py_ssize_t, size=Py_ssize_t, head=bytes)
    cdef Py_ssize_t _read_start(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(expected=int)
    cdef bint _skip_blank(self, int octet) except -1
    @cython.locals(start=Py_ssize_t, line_end=Py_ssize_t, line=bytes, scan=HeadScan)
    cdef Py_ssize_t _read_line(self, bytes data, Py_ssize_t position) except -1
    cdef _take_line(self, HeadScan scan)
    cdef _use_parser(self, object parser)
    cdef _forget_line(self)
    cdef _refuse_line(self, bytes line)
    @cython.locals(size=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, piece=bytes)
    cdef Py_ssize_t _read_fields(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(last=bytes, joint=bytes, at=Py_ssize_t)
    cdef Py_ssize_t _find_end(self, bytes data, Py_ssize_t position, Py_ssize_t limit) except -2
    cdef _remember(self, bytes data, Py_ssize_t position, Py_ssize_t stop)
    @cython.locals(scan=HeadScan)
    cdef _head_done(self)
    cdef _check_head(self, HeadScan scan)
    cdef _check_framing(self, HeadScan scan)
    cdef _split_other_form(self, bytes target)
    cdef _open_body(self, bytes framing)
    @cython.locals(size=Py_ssize_t, stop=Py_ssize_t)
    cdef Py_ssize_t _read_counted(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(size=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, body_before=Py_ssize_t,
                   trailers_before=Py_ssize_t, allowance_before=Py_ssize_t, cost=Py_ssize_t)
    cdef Py_ssize_t _read_chunks(self, bytes data, Py_ssize_t position) except -1
    cdef _piece_done(self)
    cdef bint _feed(self, bytes piece) except -1
    cdef _fault_of(self, object exc)
    cdef _refuse_for(self, object fault)
    cdef _refuse(self, int status, str detail)
    cdef _stop(self, str detail)
