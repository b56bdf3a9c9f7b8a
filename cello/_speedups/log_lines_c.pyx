"""The request log's lines in their two quick formats, in C; the twin of log_lines_py, which says the rules.

PERF: a line is put together in one growing buffer as its answer leaves; 0.1 us where strings took 0.4, and
nothing of the request is kept, which cost as much again in misses of the cache.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport floor
from libc.string cimport memcpy

from time import gmtime, localtime, strftime

cdef Py_ssize_t MAX_TARGET_BYTES = 2048
cdef const char* DIGITS = b"0123456789abcdef"


cdef class Buffer:
    """Octets that grow."""

    def __cinit__(self, Py_ssize_t capacity):
        self.octets = <char*>PyMem_Malloc(capacity)
        if self.octets == NULL:
            raise MemoryError
        self.capacity = capacity
        self.size = 0

    def __dealloc__(self):
        PyMem_Free(self.octets)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef char* grown
        cdef Py_ssize_t capacity
        if self.size + more > self.capacity:
            capacity = (self.size + more) * 2
            grown = <char*>PyMem_Realloc(self.octets, capacity)
            if grown == NULL:
                raise MemoryError
            self.octets = grown
            self.capacity = capacity
        return 0

    cdef int put(self, const char* octets, Py_ssize_t size) except -1:
        self.reserve(size)
        memcpy(self.octets + self.size, octets, size)
        self.size += size
        return 0

    cdef int put_text(self, str text) except -1:
        cdef Py_ssize_t size
        cdef const char* octets = PyUnicode_AsUTF8AndSize(text, &size)
        return self.put(octets, size)

    cdef int put_number(self, long long number, int width) except -1:
        """Put a number that is not negative, with zeros in front up to a width."""
        cdef char digits[24]
        cdef int at = 24
        cdef unsigned long long left = <unsigned long long>number
        while left > 0 or width > 0 or at == 24:
            at -= 1
            digits[at] = <char>(c"0" + left % 10)
            left //= 10
            width -= 1
        return self.put(digits + at, 24 - at)

    cdef int put_escaped(self, const char* octets, Py_ssize_t size, bint is_json) except -1:
        """Put octets of a client."""
        cdef Py_ssize_t at
        cdef unsigned char octet
        self.reserve(size * 5)
        cdef char* out = self.octets + self.size
        for at in range(size):
            octet = octets[at]
            if 0x20 < octet < 0x7F and octet != 0x5C:
                if octet == 0x22 and is_json:
                    out[0] = 0x5C
                    out += 1
                out[0] = octet
                out += 1
            else:
                out[0] = 0x5C
                if is_json:
                    out[1] = 0x5C
                    out += 1
                out[1] = c"x"
                out[2] = DIGITS[octet >> 4]
                out[3] = DIGITS[octet & 15]
                out += 4
        self.size = out - self.octets
        return 0

    cdef int put_quoted(self, str text) except -1:
        """Put text as a JSON string."""
        cdef Py_ssize_t size, at
        cdef const char* octets = PyUnicode_AsUTF8AndSize(text, &size)
        cdef unsigned char octet
        self.reserve(size * 6 + 2)
        cdef char* out = self.octets + self.size
        out[0] = c'"'
        out += 1
        for at in range(size):
            octet = octets[at]
            if octet == 0x22 or octet == 0x5C:
                out[0] = 0x5C
                out[1] = octet
                out += 2
            elif octet < 0x20:
                memcpy(out, b"\\u00", 4)
                out[4] = DIGITS[octet >> 4]
                out[5] = DIGITS[octet & 15]
                out += 6
            else:
                out[0] = octet
                out += 1
        out[0] = c'"'
        self.size = out + 1 - self.octets
        return 0

    cdef bytes taken(self):
        return PyBytes_FromStringAndSize(self.octets, self.size)


cpdef str escape(bytes octets):
    """Render octets of a client; see the twin."""
    cdef Buffer out = Buffer(256)
    out.put_escaped(PyBytes_AS_STRING(octets), min(PyBytes_GET_SIZE(octets), MAX_TARGET_BYTES), False)
    return out.taken().decode("ascii")


cdef class LogLines:
    """Lines that are rendered as answers come, until they are taken; see the twin."""

    def __init__(self, bint is_json, bint is_coloured, worker):
        self.is_json = is_json
        self.is_coloured = is_coloured
        self.last = f'","worker":{worker}}}\n'
        self.out = Buffer(65536)
        self.second = -1
        self.stamp = ""
        self.wall_offset = 0.0

    cpdef add(self, double at, double seconds, str client, str method, bytes target, int status, Py_ssize_t size,
              object route, str version, bytes request_id):
        """Render an answer."""
        cdef double wall = at + self.wall_offset
        cdef long long now = <long long>floor(wall)
        if now != self.second:
            self.second = now
            self.stamp = (
                strftime('{"time":"%Y-%m-%dT%H:%M:%S.', gmtime(now))
                if self.is_json
                else strftime("%Y-%m-%d %H:%M:%S", localtime(now))
            )
        cdef Py_ssize_t before = self.out.size
        try:
            self.out.put_text(self.stamp)
            if self.is_json:
                self.put_json(
                    wall - now, seconds, client, method, target, status, size, route, version, request_id
                )
            else:
                self.put_line(seconds, client, method, target, status, size)
        except BaseException:
            self.out.size = before  # no half of a line in front of the next
            raise

    cdef int put_line(self, double seconds, str client, str method, bytes target, int status,
                      Py_ssize_t size) except -1:
        cdef Buffer out = self.out
        cdef int hundreds = status // 100
        cdef long long tenths = <long long>(seconds * 10000.0 + 0.5)
        out.put(b" ", 1)
        out.put_text(method)
        out.put(b" ", 1)
        out.put_escaped(PyBytes_AS_STRING(target), min(PyBytes_GET_SIZE(target), MAX_TARGET_BYTES), False)
        out.put(b" ", 1)
        if self.is_coloured:
            if hundreds == 2:
                out.put(b"\x1b[32m", 5)
            elif hundreds == 3:
                out.put(b"\x1b[36m", 5)
            elif hundreds == 4:
                out.put(b"\x1b[33m", 5)
            elif hundreds == 5:
                out.put(b"\x1b[31m", 5)
        out.put_number(status, 0)
        if self.is_coloured:
            out.put(b"\x1b[0m", 4)
        out.put(b" ", 1)
        out.put_number(tenths // 10, 0)
        out.put(b".", 1)
        out.put_number(tenths % 10, 0)
        out.put(b"ms ", 3)
        out.put_number(size, 0)
        out.put(b"B ", 2)
        out.put_text(client)
        return out.put(b"\n", 1)

    cdef int put_json(self, double fraction, double seconds, str client, str method, bytes target, int status,
                      Py_ssize_t size, object route, str version, bytes request_id) except -1:
        cdef Buffer out = self.out
        cdef const char* octets = PyBytes_AS_STRING(target)
        cdef Py_ssize_t target_size = min(PyBytes_GET_SIZE(target), MAX_TARGET_BYTES)
        cdef Py_ssize_t mark = 0
        cdef long long micros = <long long>(seconds * 1000000.0 + 0.5)
        while mark < target_size and octets[mark] != c"?":
            mark += 1
        out.put_number(<long long>(fraction * 1000.0), 3)
        out.put_text('+00:00","level":"error","client":' if status >= 500 else '+00:00","level":"info","client":')
        out.put_quoted(client)
        out.put_text(',"method":')
        out.put_quoted(method)
        out.put_text(',"path":"')
        out.put_escaped(octets, mark, True)
        if mark < target_size:
            out.put_text('","query":"')
            out.put_escaped(octets + mark + 1, target_size - mark - 1, True)
        out.put_text('","route":')
        if route is None:
            out.put(b"null", 4)
        else:
            out.put_quoted(route.template)
        out.put_text(',"status":')
        out.put_number(status, 0)
        out.put_text(',"ms":')
        out.put_number(micros // 1000, 0)
        out.put(b".", 1)
        out.put_number(micros % 1000, 3)
        out.put_text(',"bytes":')
        out.put_number(size, 0)
        out.put_text(',"protocol":"HTTP/')
        out.put_text(version)
        out.put_text('","request_id":"')
        out.put_escaped(PyBytes_AS_STRING(request_id), PyBytes_GET_SIZE(request_id), True)
        return out.put_text(self.last)

    cpdef bytes take(self):
        """Return the lines, and begin anew."""
        cdef bytes lines = self.out.taken()
        self.out.size = 0
        return lines
