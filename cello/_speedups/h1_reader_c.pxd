# Types of h1_reader_c, which is h1_reader_py.py compiled.
cimport cython

from cello._speedups.h1_chunks_c cimport ChunkedBody, EndFinder
from cello._speedups.heads_c cimport HeadScan

cdef int BODY, COMPLETE, END, FIELDS, HEAD, IDLE, LINE, NOTHING, PIECE, REFUSED
cdef int LINE_BAD, LINE_PARTIAL, PLAIN, WHOLE
cdef Py_ssize_t MAX_BLANK_OCTETS, MAX_FIELDS_BYTES, MAX_LINE_BYTES, MAX_TARGET_BYTES


@cython.final
cdef class ReaderSettings:
    cdef public object make_parser
    cdef public object parser_upgrade
    cdef public Py_ssize_t max_fields


@cython.final
cdef class MessageReader(HeadScan):
    cdef Py_ssize_t _blank_octets
    cdef ChunkedBody _chunks
    cdef EndFinder _end
    cdef object _head
    cdef bytes _known_host
    cdef object _parser
    cdef object _partial
    cdef ReaderSettings _settings
    cdef public bytes authority
    cdef public Py_ssize_t body_bytes
    cdef public Py_ssize_t body_left
    cdef public object content_length
    cdef public int event
    cdef public object fault
    cdef public Py_ssize_t fields_at
    cdef public bint has_body
    cdef public bint has_input_behind
    cdef public bytes head
    cdef public Py_ssize_t head_size
    cdef public bint is_keep_alive
    cdef public bint is_whole
    cdef public list pieces
    cdef public int state

    cpdef next_message(self)
    cpdef close(self)
    cdef _forget_chunks(self)
    @cython.locals(state=int)
    cpdef Py_ssize_t read(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(found=int, end=Py_ssize_t, size=Py_ssize_t, head=bytes)
    cdef Py_ssize_t _read_start(self, bytes data, Py_ssize_t position) except -1
    cdef Py_ssize_t _begin_pieces(self, bytes data, Py_ssize_t position, int found) except -1
    cdef _begin_fields(self)
    cdef _make_parser(self)
    @cython.locals(expected=int)
    cdef bint _skip_blank(self, int octet) except -1
    @cython.locals(start=Py_ssize_t, line_end=Py_ssize_t, line=bytes)
    cdef Py_ssize_t _read_line(self, bytes data, Py_ssize_t position) except -1
    cdef _forget_line(self)
    cdef _refuse_line(self, bytes line)
    @cython.locals(size=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, piece=bytes)
    cdef Py_ssize_t _read_fields(self, bytes data, Py_ssize_t position) except -1
    @cython.locals(host=bytes)
    cdef _head_done(self)
    cdef _check_notes(self)
    cdef _check_framing(self)
    cdef _fault_of_codings(self)
    cdef _split_other_form(self, bytes target)
    @cython.locals(size=Py_ssize_t, stop=Py_ssize_t, chunks=ChunkedBody)
    cdef Py_ssize_t _read_body(self, bytes data, Py_ssize_t position) except -1
    cdef bint _feed(self, bytes piece) except -1
    cdef _fault_of(self, str detail)
    cdef _refuse_for(self, object fault)
    cdef _refuse(self, int status, str detail)
