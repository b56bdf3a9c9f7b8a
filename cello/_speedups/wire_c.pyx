"""HTTP/1.1 answers as octets: one allocation and memcpy; the twin of wire_py."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Check, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.string cimport memcpy

from ..status import phrase_of

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef enum:
    LONGEST_NUMBER = 20  # digits of 2**63, and one more

# The literals with their sizes, for memcpy.
cdef char* LENGTH_NAME = b"content-length: "
cdef Py_ssize_t LENGTH_NAME_SIZE = 16
cdef char* DECIMAL = b"0123456789"
cdef char* HEXADECIMAL = b"0123456789abcdef"


cdef bytes status_line(int status):
    return f"HTTP/1.1 {status} {phrase_of(status)}\r\n".encode("ascii")


cdef list STATUS_LINES = [status_line(status) for status in range(100, 600)]


cpdef bytes render(status, fields, common, length, body):
    """Render a head and a body (RFC 9112 2.1); see the twin."""
    require(PyLong_Check(status), "status", "an int", status)
    require(PyList_Check(fields), "fields", "a list", fields)
    require(PyBytes_Check(common), "common", "bytes", common)
    require(PyLong_Check(length), "length", "an int", length)
    require(PyBytes_Check(body), "body", "bytes", body)
    cdef bytes line = line_of(status)
    cdef long long announced = length_of(length)
    cdef char digits[LONGEST_NUMBER]
    cdef Py_ssize_t digits_size = 0
    cdef Py_ssize_t size = PyBytes_GET_SIZE(line) + PyBytes_GET_SIZE(common) + PyBytes_GET_SIZE(body) + 2
    size += size_of(fields)
    if announced >= 0:
        digits_size = write_number(digits, announced, DECIMAL, 10)
        size += LENGTH_NAME_SIZE + digits_size + 2
    answer = PyBytes_FromStringAndSize(NULL, size)
    cdef char* at = copy(PyBytes_AS_STRING(answer), line)
    at = copy_fields(at, fields)
    at = copy(at, common)
    if announced >= 0:
        memcpy(at, LENGTH_NAME, LENGTH_NAME_SIZE)
        memcpy(at + LENGTH_NAME_SIZE, digits, digits_size)
        at = copy_line_end(at + LENGTH_NAME_SIZE + digits_size)
    copy(copy_line_end(at), body)
    return answer


cpdef bytes chunk(data):
    """Render one chunk (RFC 9112 7.1); no data gives the one that ends the body."""
    require(PyBytes_Check(data), "data", "bytes", data)
    cdef char digits[LONGEST_NUMBER]
    cdef Py_ssize_t digits_size = write_number(digits, PyBytes_GET_SIZE(data), HEXADECIMAL, 16)
    piece = PyBytes_FromStringAndSize(NULL, digits_size + PyBytes_GET_SIZE(data) + 4)
    cdef char* at = PyBytes_AS_STRING(piece)
    memcpy(at, digits, digits_size)
    copy_line_end(copy(copy_line_end(at + digits_size), data))
    return piece


cdef inline int require(bint is_right, str what, str expected, got) except -1:
    if not is_right:
        raise TypeError(f"expected {what} to be {expected}, got {type(got).__name__}")
    return 0


cdef bytes line_of(status):
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(status, &overflow)
    if overflow or not 100 <= number <= 999:
        raise ValueError(f"expected a status from 100 to 999, got {status}")
    if number < 600:
        return <bytes>STATUS_LINES[number - 100]
    return status_line(<int>number)


cdef long long length_of(length) except? -2:
    """The length to announce, or -1 for none."""
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(length, &overflow)
    if overflow > 0:
        raise ValueError(f"expected a length below 2**63, got {length}")
    return number if number >= 0 else -1


cdef Py_ssize_t size_of(fields) except -1:
    """The size of all field lines; raises TypeError for what is no field, before anything is copied."""
    cdef Py_ssize_t index, size = 0
    cdef object field, name, value
    for index in range(PyList_GET_SIZE(fields)):
        field = <object>PyList_GET_ITEM(fields, index)
        require(PyTuple_Check(field) and PyTuple_GET_SIZE(field) == 2, "a field", "a tuple of two", field)
        name = <object>PyTuple_GET_ITEM(field, 0)
        value = <object>PyTuple_GET_ITEM(field, 1)
        require(PyBytes_Check(name), "a field name", "bytes", name)
        require(PyBytes_Check(value), "a field value", "bytes", value)
        size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4
    return size


cdef char* copy_fields(char* at, fields) noexcept:
    cdef Py_ssize_t index
    cdef object field
    for index in range(PyList_GET_SIZE(fields)):
        field = <object>PyList_GET_ITEM(fields, index)
        at = copy(at, <object>PyTuple_GET_ITEM(field, 0))
        at[0] = c":"
        at[1] = c" "
        at = copy_line_end(copy(at + 2, <object>PyTuple_GET_ITEM(field, 1)))
    return at


cdef inline char* copy(char* at, source) noexcept:
    memcpy(at, PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source))
    return at + PyBytes_GET_SIZE(source)


cdef inline char* copy_line_end(char* at) noexcept:
    at[0] = c"\r"
    at[1] = c"\n"
    return at + 2


@cython.cdivision(True)
cdef Py_ssize_t write_number(char* target, long long number, char* alphabet, int base) noexcept:
    """Write a number of zero or more in the base given; return the count of its digits."""
    cdef char reversed_digits[LONGEST_NUMBER]
    cdef Py_ssize_t count = 0, index
    while True:
        reversed_digits[count] = alphabet[number % base]
        number //= base
        count += 1
        if number == 0:
            break
    for index in range(count):
        target[index] = reversed_digits[count - 1 - index]
    return count
