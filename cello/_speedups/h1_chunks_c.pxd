# Types of h1_chunks_c, which is h1_chunks_py.py compiled.
cimport cython

cdef Py_ssize_t CHUNK_CREDIT_BYTES, MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES, PIECE_BYTES


@cython.final
cdef class EndFinder:
    cdef bytes _last_octets

    @cython.locals(last=bytes, joint=bytes, at=Py_ssize_t)
    cpdef Py_ssize_t find(self, bytes data, Py_ssize_t position, Py_ssize_t limit) except -2
    cpdef remember(self, bytes data, Py_ssize_t position, Py_ssize_t stop)
    cpdef forget(self)


@cython.final
cdef class ChunkedBody:
    cdef Py_ssize_t _chunk_allowance
    cdef EndFinder _end
    cdef Py_ssize_t _extension_bytes
    cdef object _feed_parser
    cdef bint _is_chunk_empty
    cdef bint _is_chunk_open
    cdef bint _is_open
    cdef object _parser
    cdef Py_ssize_t _trailer_bytes
    cdef Py_ssize_t _trailer_room
    cdef public Py_ssize_t body_bytes
    cdef public object fault
    cdef public bint is_whole
    cdef public Py_ssize_t max_fields
    cdef public list pieces

    cpdef close(self)
    @cython.locals(size=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, body_before=Py_ssize_t,
                   trailers_before=Py_ssize_t, allowance_before=Py_ssize_t, cost=Py_ssize_t)
    cpdef Py_ssize_t read(self, bytes data, Py_ssize_t position) except -1
