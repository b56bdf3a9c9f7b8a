"""The states and kinds that compiled modules compare per request.

PERF: a module of its own, from which each compiled module takes C integers (``cdef int`` in its .pxd): a
comparison with a name of another module's would be a look-up and an object each time, 400 instructions a
request in all.
"""

# Lanes of an endpoint (dispatch).
INLINE = 0  # on the loop's thread, inside begin()
THREAD = 1  # in the pool of handler threads
TASK = 2  # on the loop, as a task

# States of a message (h1_reader).
IDLE = 0
LINE = 1
FIELDS = 2
BODY = 3
COMPLETE = 4

# Events of a reader (h1_reader).
NOTHING = 0
HEAD = 1
PIECE = 2
END = 3
REFUSED = 4

# Phases of a connection (h1).
OPEN = 0
LINGER = 1
CLOSED = 2

# How the body of a streamed answer is framed (h1).
NO_BODY = 0
BY_LENGTH = 1
CHUNKED = 2
BY_CLOSE = 3
