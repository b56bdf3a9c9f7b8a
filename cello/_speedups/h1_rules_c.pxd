cdef class Fault:
    cdef public int status
    cdef public str detail
