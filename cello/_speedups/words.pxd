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


cdef inline bint is_text(const char* octets, Py_ssize_t size) noexcept:
    """Tell whether all octets may be in a field value: HTAB, SP, visible ASCII, obs-text (RFC 9110 5.5)."""
    cdef const unsigned char* at = <const unsigned char*>octets
    cdef const unsigned char* end = at + size
    cdef uint64_t word
    while end - at >= 8:
        memcpy(&word, at, 8)
        if has_below(word, 0x20) | has_delete(word):
            break  # it may be a tab: look at the rest one by one
        at += 8
    while at < end:
        if (at[0] < 0x20 and at[0] != 0x09) or at[0] == 0x7F:
            return False
        at += 1
    return True


cdef inline bint is_visible(const char* octets, Py_ssize_t size) noexcept:
    """Tell whether all octets are visible ASCII."""
    cdef const unsigned char* at = <const unsigned char*>octets
    cdef const unsigned char* end = at + size
    cdef uint64_t word
    while end - at >= 8:
        memcpy(&word, at, 8)
        if has_below(word, 0x21) | has_delete(word) | (word & <uint64_t>0x8080808080808080):
            return False
        at += 8
    while at < end:
        if not 0x21 <= at[0] <= 0x7E:
            return False
        at += 1
    return True


cdef inline uint64_t has_below(uint64_t word, unsigned char limit) noexcept:
    """Return other than zero where one of eight octets is below a limit of at most 0x80."""
    return (word - <uint64_t>0x0101010101010101 * limit) & ~word & <uint64_t>0x8080808080808080


cdef inline uint64_t has_delete(uint64_t word) noexcept:
    """Return other than zero where one of eight octets is DEL, 0x7F."""
    return has_below(word ^ <uint64_t>0x7F7F7F7F7F7F7F7F, 1)


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
