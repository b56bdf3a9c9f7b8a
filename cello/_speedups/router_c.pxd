# Types of router_c, which is router_py.py compiled.
cimport cython


cdef class Node


@cython.final
cdef class Target:
    cdef object leaf
    cdef tuple names
    cdef tuple found


@cython.final
cdef class Node:
    cdef dict statics
    cdef list typed
    cdef Node plain
    cdef Node wildcard
    cdef dict methods
    cdef bint is_fork


@cython.final
cdef class Router:
    cdef Node _root
    cdef dict _whole
    cdef Py_ssize_t _depth

    @cython.locals(known=dict, target=Target, segments=list, names=tuple, name=str, params=dict,
                   index=Py_ssize_t, count=Py_ssize_t)
    cpdef tuple match(self, str method, bytes path)

    @cython.locals(segments=list, found=set)
    cpdef list allowed(self, bytes path)


@cython.locals(edge=tuple, child=Node)
cdef Node _grow(Node node, int kind, str text, object convert)

cdef _enter(dict known, object methods, Target target)

@cython.locals(piece=bytes)
cdef list _split(bytes path, Py_ssize_t most)

@cython.locals(count=Py_ssize_t, segment=str, child=Node, target=Target)
cdef Target _find(Node node, list segments, Py_ssize_t index, str method)

@cython.locals(edge=tuple, target=Target)
cdef Target _find_typed(Node node, list segments, Py_ssize_t index, str method)

@cython.locals(target=Target, rest=str)
cdef Target _find_rest(Node node, list segments, Py_ssize_t index, str method)

@cython.locals(edge=tuple, segment=str, child=Node)
cdef _collect(Node node, list segments, Py_ssize_t index, set found)
