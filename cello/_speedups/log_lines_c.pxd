cimport cython


@cython.final
cdef class Buffer:
    cdef char* octets
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity

    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int put(self, const char* octets, Py_ssize_t size) except -1
    cdef int put_text(self, str text) except -1
    cdef int put_number(self, long long number, int width) except -1
    cdef int put_escaped(self, const char* octets, Py_ssize_t size, bint is_json) except -1
    cdef int put_quoted(self, str text) except -1
    cdef bytes taken(self)


@cython.final
cdef class LogLines:
    cdef bint is_json
    cdef bint is_coloured
    cdef str last
    cdef Buffer out
    cdef long long second
    cdef str stamp
    cdef public double wall_offset

    cpdef add(self, double at, double seconds, str client, str method, bytes target, int status, Py_ssize_t size,
              object route, str version, bytes request_id)
    cdef int put_line(self, double seconds, str client, str method, bytes target, int status,
                      Py_ssize_t size) except -1
    cdef int put_json(self, double fraction, double seconds, str client, str method, bytes target, int status,
                      Py_ssize_t size, object route, str version, bytes request_id) except -1
    cpdef bytes take(self)


cpdef str escape(bytes octets)
