cimport cython

from cello._speedups.query_c cimport read_query
from cello._speedups.heads_c cimport find_field, split_fields

cdef object _is_request_id
cdef list _new_ids

@cython.locals(digits=bytes)
cdef bytes _new_request_id()

@cython.final
@cython.freelist(64)
cdef class Request:
    cdef public str method
    cdef public bytes raw_path
    cdef public bytes raw_query
    cdef public list _fields
    cdef public bytes _head
    cdef public Py_ssize_t _fields_at
    cdef public Py_ssize_t _head_size
    cdef public bytes authority
    cdef public str scheme
    cdef public str http_version
    cdef public object client
    cdef public object content_length
    cdef public bint has_body
    cdef public bint expects_continue
    cdef public dict _params
    cdef public object app
    cdef public object route
    cdef public object _exchange
    cdef public bytes _body
    cdef public str _path
    cdef public object _query
    cdef public object _headers
    cdef public dict _cookies
    cdef public object _form
    cdef public object _json
    cdef public dict _context
    cdef public bytes _request_id
    cdef public double _started_at

    cpdef bytes raw_field(self, bytes name)
    @cython.locals(request_id=bytes)
    cpdef bytes request_id_octets(self)

@cython.locals(request=Request)
cpdef Request make_request(str method, bytes raw_path, bytes raw_query, list fields, bytes head,
                           Py_ssize_t fields_at, Py_ssize_t head_size, bytes authority, str scheme,
                           str http_version, object client)
