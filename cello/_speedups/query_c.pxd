# Types of query_c, which is query_py.py compiled.
cimport cython


@cython.final
cdef class QueryParams:
    cdef readonly object _index
    cdef readonly list _pairs

    cdef _indexed(self)


@cython.locals(params=QueryParams)
cpdef QueryParams read_query(bytes raw, Py_ssize_t max_fields)
