cpdef object new_context()
cpdef object call_in(object context, object function, object argument)
cpdef double coarse_seconds() except? -1
