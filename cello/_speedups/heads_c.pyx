"""Finding what a request's head says, in C; the twin of heads_py."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

from cello._speedups.words cimport is_text, is_visible

from .h1_rules_c import METHODS as _METHODS
from .octets_c import is_token

LINE_PARTIAL = 0
LINE_BAD = 1
FIELDS_PARTIAL = 2
WHOLE = 3
PLAIN = 4

MAX_TARGET_BYTES = 65536
cdef enum:
    MAX_TARGET = 65536

cdef dict METHODS = _METHODS
cdef str GET = _METHODS[b"GET"]
cdef str POST = _METHODS[b"POST"]
cdef str CONNECT = _METHODS[b"CONNECT"]
cdef bytes EMPTY = b""

cdef unsigned char TOKEN_OCTETS[256]
for _octet in range(256):
    TOKEN_OCTETS[_octet] = is_token(bytes([_octet]))

# The names that nearly every request has, so that a lower-case copy need not be made of them each time.
cdef bytes HOST_NAME = b"host"
cdef bytes ACCEPT_NAME = b"accept"
cdef bytes COOKIE_NAME = b"cookie"
cdef bytes USER_AGENT_NAME = b"user-agent"
cdef bytes CONNECTION_NAME = b"connection"


cdef inline const char* find_crlf(const char* at, const char* stop) noexcept:
    """Return the first CRLF at or behind ``at``, or NULL."""
    cdef const char* found
    while at < stop - 1:
        found = <const char*>memchr(at, 13, stop - at - 1)
        if found == NULL:
            return NULL
        if found[1] == 10:
            return found
        at = found + 1
    return NULL


cdef inline const char* find_head_end(const char* at, const char* stop) noexcept:
    """Return the first CRLF CRLF at or behind ``at``, or NULL."""
    cdef const char* found
    while at < stop - 3:
        found = <const char*>memchr(at, 13, stop - at - 3)
        if found == NULL:
            return NULL
        if found[1] == 10 and found[2] == 13 and found[3] == 10:
            return found
        at = found + 1
    return NULL


cdef class HeadScan:
    """What a scan found; see heads_py."""

    def __init__(self):
        self.end = 0
        self.line_end = 0
        self.has_percent = False
        self.is_http_11 = True
        self.is_origin_form = True
        self.method = ""
        self.target = EMPTY
        self.raw_path = EMPTY
        self.raw_query = EMPTY

    cpdef int scan(self, bytes data, Py_ssize_t position) except -1:
        """Look at the data from a position on, where a message starts; returns one of the states above."""
        cdef const char* base = PyBytes_AS_STRING(data)
        cdef const char* stop = base + PyBytes_GET_SIZE(data)
        cdef const char* line_end = find_crlf(base + position, stop)
        cdef const char* end
        if line_end == NULL:
            return 0
        self.line_end = line_end - base
        if not self.split_line(base + position, line_end):
            return 1
        end = self.plain_end(line_end + 2, stop)
        if end != NULL:
            self.end = end - base
            return 4
        end = find_head_end(line_end, stop)
        if end == NULL:
            return 2
        self.end = end - base + 4
        return 3

    cpdef scan_fields(self, bytes head, Py_ssize_t start, Py_ssize_t stop):
        """Count the field lines of ``head[start:stop]`` and note those that steer HTTP/1.1."""
        cdef const char* at = PyBytes_AS_STRING(head) + start
        cdef const char* last = PyBytes_AS_STRING(head) + stop
        cdef FieldLine line
        self.forget_fields()
        while True:
            at = next_field(at, last, &line)
            if at == NULL:
                return
            self.field_count += 1
            self.note(line.name, line.name_size, line.value, line.value_size)

    cdef const char* plain_end(self, const char* at, const char* stop) except? NULL:
        """Note the fields of a plain head from ``at`` on; returns its end, or NULL where it is not plain."""
        cdef const char* name
        cdef const char* end
        cdef const char* last
        cdef Py_ssize_t size
        if not self.is_origin_form or not is_visible(PyBytes_AS_STRING(self.target), len(self.target)):
            return NULL
        self.forget_fields()
        while stop - at >= 2:
            if at[0] == 13:
                return at + 2 if at[1] == 10 and self.transfer_encoding is None else NULL
            name = at
            while at < stop and TOKEN_OCTETS[<unsigned char>at[0]]:
                at += 1
            if at == stop or at[0] != c":" or at == name:
                return NULL
            size = at - name
            at += 1
            end = <const char*>memchr(at, 13, stop - at)
            if end == NULL or end + 1 == stop or end[1] != 10 or not is_text(at, end - at):
                return NULL
            while at < end and (at[0] == 32 or at[0] == 9):
                at += 1
            last = end
            while last > at and (last[-1] == 32 or last[-1] == 9):
                last -= 1
            self.field_count += 1
            self.note(name, size, at, last - at)
            at = end + 2
        return NULL

    cdef forget_fields(self):
        self.has_notes = False
        self.field_count = 0
        self.host_count = 0
        self.length_count = 0
        self.host = None
        self.connection = None
        self.length_field = None
        self.transfer_encoding = None
        self.expect = None

    cdef int note(self, const char* name, Py_ssize_t size, const char* value, Py_ssize_t length) except -1:
        if size == 4:
            if is_name(name, b"host", 4):
                self.host = PyBytes_FromStringAndSize(value, length)
                self.host_count += 1
            return 0
        if size == 6 and is_name(name, b"expect", 6):
            self.expect = joined(self.expect, value, length)
        elif size == 10 and is_name(name, b"connection", 10):
            self.connection = joined(self.connection, value, length)
        elif size == 14 and is_name(name, b"content-length", 14):
            self.length_field = PyBytes_FromStringAndSize(value, length)
            self.length_count += 1
        elif size == 17 and is_name(name, b"transfer-encoding", 17):
            self.transfer_encoding = joined(self.transfer_encoding, value, length)
        else:
            return 0
        self.has_notes = True
        return 0

    cdef bint split_line(self, const char* start, const char* stop) except -1:
        cdef const char* space = <const char*>memchr(start, 32, stop - start)
        cdef const char* version = stop - 9
        cdef const char* target
        cdef const char* mark
        cdef Py_ssize_t size
        if space == NULL or version <= space + 1 or version - space - 1 > MAX_TARGET:
            return False
        target = space + 1
        size = version - target
        if memcmp(version, b" HTTP/1.", 8) != 0 or not (version[8] == c"1" or version[8] == c"0"):
            return False
        if memchr(target, 32, size) != NULL or memchr(target, c"#", size) != NULL:
            return False
        self.is_http_11 = version[8] == c"1"
        if not self.take_method(start, space - start):
            return False
        self.target = PyBytes_FromStringAndSize(target, size)
        self.has_percent = memchr(target, c"%", size) != NULL
        self.is_origin_form = target[0] == c"/" and self.method is not CONNECT
        if self.is_origin_form:
            mark = <const char*>memchr(target, c"?", size)
            if mark == NULL:
                self.raw_path = self.target
                self.raw_query = EMPTY
            else:
                self.raw_path = PyBytes_FromStringAndSize(target, mark - target)
                self.raw_query = PyBytes_FromStringAndSize(mark + 1, version - mark - 1)
        return True

    cdef bint take_method(self, const char* start, Py_ssize_t size) except -1:
        if size == 3 and memcmp(start, b"GET", 3) == 0:
            self.method = GET
            return True
        if size == 4 and memcmp(start, b"POST", 4) == 0:
            self.method = POST
            return True
        known = METHODS.get(PyBytes_FromStringAndSize(start, size))
        if known is None:
            return False
        self.method = known
        return True


cdef inline bint is_name(const char* name, const char* known, Py_ssize_t size) noexcept:
    """Compare a name, in any case, with a lower-case one of the same size."""
    cdef Py_ssize_t index
    cdef unsigned char octet
    for index in range(size):
        octet = <unsigned char>name[index]
        if c"A" <= octet <= c"Z":
            octet |= 32
        if octet != <unsigned char>known[index]:
            return False
    return True


cdef bytes lowered(const char* octets, Py_ssize_t size):
    """Return a field name in lower case; the names that nearly every request has are shared."""
    cdef Py_ssize_t index
    cdef char* copy
    cdef bytes result
    if size == 4 and is_name(octets, b"host", 4):
        return HOST_NAME
    if size == 6 and is_name(octets, b"accept", 6):
        return ACCEPT_NAME
    if size == 6 and is_name(octets, b"cookie", 6):
        return COOKIE_NAME
    if size == 10 and is_name(octets, b"user-agent", 10):
        return USER_AGENT_NAME
    if size == 10 and is_name(octets, b"connection", 10):
        return CONNECTION_NAME
    if size < 2:  # the interpreter shares objects of one octet and none
        return PyBytes_FromStringAndSize(octets, size).lower()
    result = PyBytes_FromStringAndSize(octets, size)
    copy = PyBytes_AS_STRING(result)
    for index in range(size):
        if c"A" <= copy[index] <= c"Z":
            copy[index] |= 32
    return result


cdef bytes joined(bytes before, const char* value, Py_ssize_t length):
    cdef bytes added = PyBytes_FromStringAndSize(value, length)
    return added if before is None else before + b"," + added


cdef struct FieldLine:
    const char* name
    Py_ssize_t name_size
    const char* value
    Py_ssize_t value_size


cdef const char* next_field(const char* at, const char* stop, FieldLine* line) noexcept:
    """Find the next field line at or behind ``at``; returns the position behind it, or NULL."""
    cdef const char* end
    cdef const char* colon
    cdef const char* first
    while at < stop:
        end = find_crlf(at, stop)
        if end == NULL:
            end = stop
        colon = <const char*>memchr(at, c":", end - at)
        if colon != NULL:
            line.name = at
            line.name_size = colon - at
            first = colon + 1
            while first < end and (first[0] == 32 or first[0] == 9):
                first += 1
            line.value = first
            line.value_size = end - first
            while line.value_size and (first[line.value_size - 1] == 32 or first[line.value_size - 1] == 9):
                line.value_size -= 1
            return end + 2
        at = end + 2
    return NULL


cpdef list split_fields(bytes head, Py_ssize_t start, Py_ssize_t stop):
    """Split the field lines of a header section that the parser has accepted; see heads_py."""
    cdef const char* at = PyBytes_AS_STRING(head) + start
    cdef const char* last = PyBytes_AS_STRING(head) + stop
    cdef FieldLine line
    cdef list fields = []
    while True:
        at = next_field(at, last, &line)
        if at == NULL:
            return fields
        fields.append(
            (lowered(line.name, line.name_size), PyBytes_FromStringAndSize(line.value, line.value_size))
        )


cpdef bytes find_field(bytes head, Py_ssize_t start, Py_ssize_t stop, bytes name):
    """Return the value of the fields of a lower-case name; see heads_py."""
    cdef const char* at = PyBytes_AS_STRING(head) + start
    cdef const char* last = PyBytes_AS_STRING(head) + stop
    cdef const char* wanted = PyBytes_AS_STRING(name)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef FieldLine line
    cdef bytes found = None
    cdef bytes value
    while True:
        at = next_field(at, last, &line)
        if at == NULL:
            return found
        if line.name_size == size and is_lowered(line.name, wanted, size):
            value = PyBytes_FromStringAndSize(line.value, line.value_size)
            found = value if found is None else found + b", " + value


cdef bint is_lowered(const char* octets, const char* wanted, Py_ssize_t size) noexcept:
    """Tell whether octets are the wanted ones once their letters are lower case."""
    cdef Py_ssize_t at
    cdef char octet
    for at in range(size):
        octet = octets[at]
        if c"A" <= octet <= c"Z":
            octet += 32
        if octet != wanted[at]:
            return False
    return True


cpdef bint is_own(bytes name) except -1:
    """Tell whether a field of an answer is written by the HTTP/1.1 adapter itself, and by nobody else."""
    cdef const char* octets = PyBytes_AS_STRING(name)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    if size == 4:
        return memcmp(octets, b"date", 4) == 0
    if size == 6:
        return memcmp(octets, b"server", 6) == 0
    if size == 7:
        return memcmp(octets, b"upgrade", 7) == 0
    if size == 10:
        return memcmp(octets, b"connection", 10) == 0 or memcmp(octets, b"keep-alive", 10) == 0
    return size == 17 and memcmp(octets, b"transfer-encoding", 17) == 0


cpdef bint has_null(bytes raw) except -1:
    """Tell whether octets contain ``null``: JSON text without it holds no NaN that became one."""
    cdef const char* at = PyBytes_AS_STRING(raw)
    cdef const char* stop = at + PyBytes_GET_SIZE(raw)
    while at < stop - 3:
        at = <const char*>memchr(at, c"n", stop - at - 3)
        if at == NULL:
            return False
        if memcmp(at, b"null", 4) == 0:
            return True
        at += 1
    return False
