cpdef object new_context()
cpdef object call_in(object context, object function, object argument)
cpdef object call_hidden(object context, object function, object argument)
cpdef double coarse_seconds() except? -1
cpdef double fine_seconds() except? -1
cpdef long waits() noexcept
cpdef note_wait()
cpdef watch_waits()
cpdef long switches() noexcept
