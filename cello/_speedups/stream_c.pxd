cdef class AnswerStream:
    cpdef respond(self, int status, list fields, bytes body, Py_ssize_t length)
