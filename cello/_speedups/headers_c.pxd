cimport cython

cdef tuple _MASKED

cdef bytes _key(object name)

@cython.locals(groups=dict)
cdef dict _by_name(list raw)


cdef class Headers:
    cdef list _raw

    @cython.locals(key=bytes, values=list, joined=bytes)
    cpdef object get(self, object name, object default=*)

    @cython.locals(values=list, field=tuple)
    cdef list _values_of(self, bytes key)
