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
    cdef public Py_ssize_t field_count
    cdef public bint has_notes
    cdef public Py_ssize_t host_count
    cdef public Py_ssize_t length_count
    cdef public bytes host
    cdef public bytes connection
    cdef public bytes length_field
    cdef public bytes transfer_encoding
    cdef public bytes expect

    cdef bint split_line(self, const char* start, const char* stop) except -1
    cdef bint take_method(self, const char* start, Py_ssize_t size) except -1
    cdef const char* plain_end(self, const char* at, const char* stop) except? NULL
    cdef forget_fields(self)
    cdef int note(self, const char* name, Py_ssize_t size, const char* value, Py_ssize_t length) except -1
    cpdef int scan(self, bytes data, Py_ssize_t position) except -1
    cpdef scan_fields(self, bytes head, Py_ssize_t start, Py_ssize_t stop)

cpdef list split_fields(bytes head, Py_ssize_t start, Py_ssize_t stop)
cpdef bytes find_field(bytes head, Py_ssize_t start, Py_ssize_t stop, bytes name)
cpdef bint is_own(bytes name) except -1
cpdef bint has_null(bytes raw) except -1
