cpdef object call_in_context(object function, object argument)
cpdef double coarse_seconds() except? -1
