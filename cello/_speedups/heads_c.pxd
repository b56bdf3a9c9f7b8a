cdef class HeadScan:
    cdef public Py_ssize_t end
    cdef public Py_ssize_t line_end
    cdef public bint has_percent
    cdef public bint is_http_11
    cdef public bint is_origin_form
    cdef public str method
    cdef public bytes target
    cdef public bytes raw_path
    cdef public bytes raw_query

    cdef bint split_line(self, const char* start, const char* stop) except -1
    cdef bint take_method(self, const char* start, Py_ssize_t size) except -1
    cpdef int scan(self, bytes data, Py_ssize_t position) except -1

cpdef bytes lowered(bytes name)
cpdef int kind_of(bytes name) except -1
cpdef bint is_own(bytes name) except -1
cpdef bint has_null(bytes raw) except -1
