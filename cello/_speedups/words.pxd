"""Octets looked at eight at a time, for the compiled modules: functions to be inlined, without a module."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcpy


cdef inline bint is_plain(const unsigned char* at, Py_ssize_t size) noexcept:
    """Tell whether all octets stand for themselves: ASCII, and no "%" among them."""
    cdef const unsigned char* end = at + size
    cdef uint64_t word
    if memchr(at, c"%", size) is not NULL:
        return False
    while end - at >= 8:
        memcpy(&word, at, 8)
        if word & <uint64_t>0x8080808080808080:
            return False
        at += 8
    while at < end:
        if at[0] & 0x80:
            return False
        at += 1
    return True


cdef inline uint64_t hash_of(const unsigned char* at, Py_ssize_t size) noexcept:
    """Hash octets, eight at a time; the last ones are read again where they do not fill a word."""
    cdef uint64_t hash = <uint64_t>size
    cdef uint64_t word
    while size > 8:
        memcpy(&word, at, 8)
        hash = mixed(hash ^ word)
        at += 8
        size -= 8
    return mixed(hash ^ last_word(at, size))


cdef inline uint64_t mixed(uint64_t hash) noexcept:
    hash *= <uint64_t>0x9E3779B97F4A7C15  # odd, and its bits without a pattern: 2^64 / the golden ratio
    return hash ^ (hash >> 32)


cdef inline uint64_t last_word(const unsigned char* at, Py_ssize_t size) noexcept:
    """Return up to eight octets, all of them, in one word."""
    cdef uint64_t word
    cdef uint32_t low, high
    if size == 8:
        memcpy(&word, at, 8)
        return word
    if size >= 4:
        memcpy(&low, at, 4)
        memcpy(&high, at + size - 4, 4)
        return low | <uint64_t>high << 32
    if size == 0:
        return 0
    return at[0] | at[size >> 1] << 8 | at[size - 1] << 16
