"""Octets checked and decoded by the RFCs' grammars, with one C table of classes; the twin of octets_py."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr

ctypedef const unsigned char* octets_t

cdef enum:
    TOKEN = 1  # RFC 9110 5.6.2: tchar
    FIELD_VALUE = 2  # RFC 9110 5.5: field-vchar, obs-text, SP, HTAB
    LABEL = 4  # RFC 3986 2.2, 2.3: unreserved / sub-delims, without the dot that parts labels
    TARGET_PATH = 8  # visible ASCII but "#"
    FORM_PLAIN = 16  # ASCII that stands for itself in a form's name or value: all but "%" and "+"

cdef unsigned char CLASSES[256]
cdef signed char HEX[256]  # the value of a hexadecimal digit, -1 for all else


cdef void fill_tables():
    cdef int octet
    for octet in range(256):
        CLASSES[octet] = 0
        HEX[octet] = -1
        if octet == 0x09 or (octet >= 0x20 and octet != 0x7F):
            CLASSES[octet] |= FIELD_VALUE
        if 0x21 <= octet <= 0x7E and octet != c"#":
            CLASSES[octet] |= TARGET_PATH
        if octet <= 0x7F and octet != c"%" and octet != c"+":
            CLASSES[octet] |= FORM_PLAIN
    for octet in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        CLASSES[octet] |= TOKEN | LABEL
    for octet in b"!#$%&'*+-.^_`|~":
        CLASSES[octet] |= TOKEN
    for octet in b"-_~!$&'()*+,;=":
        CLASSES[octet] |= LABEL
    for octet in range(16):
        HEX[<int>b"0123456789abcdef"[octet]] = octet
        HEX[<int>b"0123456789ABCDEF"[octet]] = octet


fill_tables()


def is_token(value):
    """Tell whether value is a token, such as a method or a field name (RFC 9110 5.6.2)."""
    require_bytes(value)
    return PyBytes_GET_SIZE(value) > 0 and all_in_class(value, TOKEN)


def is_field_value(value):
    """Tell whether value has only octets that a field value may have (RFC 9110 5.5)."""
    require_bytes(value)
    return all_in_class(value, FIELD_VALUE)


def is_authority(value):
    """Tell whether value is what a Host field may say: uri-host [ ":" port ] (RFC 9110 7.2)."""
    require_bytes(value)
    cdef octets_t at = <octets_t>PyBytes_AS_STRING(value)
    cdef octets_t end = at + PyBytes_GET_SIZE(value)
    if at < end and at[0] == c"[":
        return is_literal_and_port(at + 1, end)
    return is_name_and_port(at, end)


def is_target_path(path):
    """Tell whether path can be the path of a request target, as text (RFC 3986 2.1, 3.3; RFC 3629 3)."""
    require_bytes(path)
    if not all_in_class(path, TARGET_PATH):
        return False
    if memchr(PyBytes_AS_STRING(path), c"%", PyBytes_GET_SIZE(path)) is NULL:
        return True
    try:
        return "\0" not in decode(path)
    except ValueError:
        return False


def decode_component(raw):
    """Decode the percent triples of a path segment, then its UTF-8; ValueError for what is neither."""
    require_bytes(raw)
    return decode(raw)


def split_pairs(raw, Py_ssize_t max_pairs):
    """Parse application/x-www-form-urlencoded into (name, value) pairs (WHATWG URL 5.1); see octets_py."""
    require_bytes(raw)
    cdef octets_t at = <octets_t>PyBytes_AS_STRING(raw)
    cdef octets_t end = at + PyBytes_GET_SIZE(raw)
    cdef octets_t stop
    cdef Py_ssize_t count = 0
    cdef list pairs = []
    if at == end:
        return pairs
    while True:
        count += 1
        if count > max_pairs:
            raise ValueError(f"more than {max_pairs} pairs")
        stop = <octets_t>memchr(at, c"&", end - at)
        if stop is NULL:
            stop = end
        if stop > at:
            pairs.append(split_pair(at, stop))
        if stop == end:
            return pairs
        at = stop + 1


cdef inline int require_bytes(value) except -1:
    if not PyBytes_Check(value):
        raise TypeError(f"expected bytes, got {type(value).__name__}")
    return 0


cdef inline bint all_in_class(value, unsigned char wanted) noexcept:
    cdef octets_t at = <octets_t>PyBytes_AS_STRING(value)
    cdef octets_t end = at + PyBytes_GET_SIZE(value)
    while at < end:
        if not CLASSES[at[0]] & wanted:
            return False
        at += 1
    return True


cdef str decode(raw):
    cdef octets_t source = <octets_t>PyBytes_AS_STRING(raw)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw)
    cdef bytes scratch = None
    if memchr(source, c"%", size) is not NULL:
        scratch = PyBytes_FromStringAndSize(NULL, size)
        size = decode_triples(source, size, <unsigned char*>PyBytes_AS_STRING(scratch))
        if size < 0:
            raise ValueError(f"broken percent triple in {repr(raw)[:80]}")
        source = <octets_t>PyBytes_AS_STRING(scratch)
    try:
        return PyUnicode_DecodeUTF8(<const char*>source, size, NULL)
    except UnicodeDecodeError:
        raise ValueError(f"not UTF-8 when percent-decoded: {repr(raw)[:80]}") from None


cdef inline bint is_triple(octets_t at, octets_t end) noexcept:
    return end - at >= 3 and at[0] == c"%" and HEX[at[1]] >= 0 and HEX[at[2]] >= 0


cdef Py_ssize_t decode_triples(octets_t at, Py_ssize_t size, unsigned char* target) noexcept:
    """Write the decoded octets to target, which holds size; return their count, -1 for a broken triple."""
    cdef octets_t end = at + size
    cdef Py_ssize_t count = 0
    while at < end:
        if at[0] != c"%":
            target[count] = at[0]
            at += 1
        elif is_triple(at, end):
            target[count] = <unsigned char>(HEX[at[1]] * 16 + HEX[at[2]])
            at += 3
        else:
            return -1
        count += 1
    return count


cdef tuple split_pair(octets_t at, octets_t end):
    cdef octets_t equals = <octets_t>memchr(at, c"=", end - at)
    if equals is NULL:
        return decode_form(at, end), ""
    return decode_form(at, equals), decode_form(equals + 1, end)


cdef inline str decode_form(octets_t at, octets_t end):
    cdef octets_t probe = at
    while probe < end and CLASSES[probe[0]] & FORM_PLAIN:
        probe += 1
    if probe == end:
        return PyUnicode_DecodeUTF8(<const char*>at, end - at, NULL)
    return decode_form_runs(at, end)


cdef str decode_form_runs(octets_t at, octets_t end):
    """Decode runs of ASCII and of other octets each for itself: a UTF-8 sequence never spans two of them."""
    cdef bytes scratch = PyBytes_FromStringAndSize(NULL, end - at)
    cdef unsigned char* target = <unsigned char*>PyBytes_AS_STRING(scratch)
    cdef octets_t stop
    cdef list texts = None
    cdef str text
    while True:
        stop = at
        if at[0] < 0x80:
            while stop < end and stop[0] < 0x80:
                stop += 1
            text = PyUnicode_DecodeUTF8(<const char*>target, decode_form_triples(at, stop, target), "replace")
        else:
            while stop < end and stop[0] >= 0x80:
                stop += 1
            text = PyUnicode_DecodeUTF8(<const char*>at, stop - at, "replace")
        if texts is None:
            if stop == end:
                return text
            texts = []
        texts.append(text)
        if stop == end:
            return "".join(texts)
        at = stop


cdef Py_ssize_t decode_form_triples(octets_t at, octets_t end, unsigned char* target) noexcept:
    """Write the decoded octets to target, which is as large; return their count. A broken triple stays."""
    cdef Py_ssize_t count = 0
    while at < end:
        if is_triple(at, end):
            target[count] = <unsigned char>(HEX[at[1]] * 16 + HEX[at[2]])
            at += 3
        else:
            target[count] = c" " if at[0] == c"+" else at[0]
            at += 1
        count += 1
    return count


cdef bint is_name_and_port(octets_t at, octets_t end) noexcept:
    cdef octets_t start = at
    cdef bint in_label = False
    while at < end:
        if CLASSES[at[0]] & LABEL:
            in_label = True
            at += 1
        elif at[0] == c".":
            if not in_label:
                return False
            in_label = False
            at += 1
        elif is_triple(at, end):
            in_label = True
            at += 3
        else:
            break
    return at > start and is_port_part(at, end)


cdef bint is_port_part(octets_t at, octets_t end) noexcept:
    """[ ":" port ] up to the end; RFC 3986 3.2.3 allows an empty port and leading zeros."""
    cdef int port = 0
    if at == end:
        return True
    if at[0] != c":":
        return False
    at += 1
    while at < end:
        if not c"0" <= at[0] <= c"9":
            return False
        port = port * 10 + at[0] - c"0"
        if port > 65535:
            return False
        at += 1
    return True


cdef bint is_literal_and_port(octets_t at, octets_t end) noexcept:
    cdef octets_t bracket = <octets_t>memchr(at, c"]", end - at)
    if bracket is NULL:
        return False
    if not is_ipv6(at, bracket) and not is_ip_future(at, bracket):
        return False
    return is_port_part(bracket + 1, end)


cdef bint is_ip_future(octets_t at, octets_t end) noexcept:
    """RFC 3986 3.2.2: "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )."""
    cdef octets_t start
    if at == end or at[0] | 0x20 != c"v":
        return False
    at += 1
    start = at
    while at < end and HEX[at[0]] >= 0:
        at += 1
    if at == start or end - at < 2 or at[0] != c".":
        return False
    at += 1
    while at < end and (CLASSES[at[0]] & LABEL or at[0] == c"." or at[0] == c":"):
        at += 1
    return at == end


cdef bint is_ipv6(octets_t at, octets_t end) noexcept:
    """RFC 3986 3.2.2: eight groups, fewer around one "::", the last two perhaps as IPv4."""
    cdef octets_t group
    cdef int groups = 0
    cdef bint is_compressed = False
    if end - at >= 2 and at[0] == c":" and at[1] == c":":
        is_compressed = True
        at += 2
        if at == end:
            return True
    while True:
        group = at
        while at < end and HEX[at[0]] >= 0:
            at += 1
        if at < end and at[0] == c".":
            if not is_ipv4(group, end):
                return False
            groups += 2
            break
        if not 1 <= at - group <= 4:
            return False
        groups += 1
        if at == end:
            break
        if at[0] != c":":
            return False
        at += 1
        if at < end and at[0] == c":":
            if is_compressed:
                return False
            is_compressed = True
            at += 1
            if at == end:
                break
    return groups <= 7 if is_compressed else groups == 8


cdef bint is_ipv4(octets_t at, octets_t end) noexcept:
    """RFC 3986 3.2.2: four dec-octets, none over 255, none with a leading zero."""
    cdef octets_t start
    cdef int number, count
    for count in range(4):
        if count:
            if at == end or at[0] != c".":
                return False
            at += 1
        start = at
        number = 0
        while at < end and at - start < 3 and c"0" <= at[0] <= c"9":
            number = number * 10 + at[0] - c"0"
            at += 1
        if at == start or number > 255 or (start[0] == c"0" and at - start > 1):
            return False
    return at == end
