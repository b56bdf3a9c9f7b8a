"""The router's trie, walked over the octets of the path, in C; router_py, its twin, argues the design.

What is different here: the path is not split into texts. A walk goes from separator to separator; static
text is kept as UTF-8 and compared with the octets between them; a segment becomes a text where a converter
asks for it, or once the target is known.

Spelling. Octets that stand for themselves, ASCII without "%", are walked where they are, between slashes.
Any other path is rewritten first: each segment decoded, and 0xFF between them, which is in no UTF-8, so that
the slash of a %2F stays inside its segment. The rewriting is also what finds paths that are not UTF-8.

Cost. As router_py says, counted in octets: a segment is hashed at each node that looks at it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from cello._speedups.words cimport hash_of, is_plain

from operator import itemgetter
from sys import intern
from urllib.parse import quote

from ..errors import HTTPError
from .octets_c import decode_component

_PCHAR = "!$&'()*+,;=:@"  # as in router_py

cdef extern from "Python.h":
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 highest)
    void* PyUnicode_1BYTE_DATA(object text) noexcept

ctypedef const unsigned char* octets_t

cdef enum:  # as in router_py
    STATIC = 0
    PLAIN = 100
    WILDCARD = 101

cdef enum:
    SLASH = 0x2F
    BETWEEN = 0xFF  # the separator of a rewritten path


cdef struct Walk:  # what does not change from node to node
    octets_t start
    octets_t end
    unsigned char separator
    PyObject* method


cdef struct Step:  # a parameter on the way to a node, and the one before it
    Step* before
    octets_t start
    octets_t end
    PyObject* value  # what a converter made of it, or NULL for its text


@cython.final
cdef class Target:
    """What a method leads to at a node: the leaf, and the names of the parameters on the way."""

    cdef object leaf
    cdef tuple names
    cdef tuple found

    def __init__(self, leaf, names):
        self.leaf = leaf
        self.names = names
        self.found = (leaf, None)


@cython.final
cdef class Node:
    """What may follow a prefix of segments."""

    cdef Texts statics
    cdef list typed  # of (kind, type, converter, Node)
    cdef Node plain
    cdef Node wildcard
    cdef dict methods
    cdef str last_method  # that was found, and what was
    cdef Target last_target
    cdef bint is_fork

    def __init__(self):
        self.statics = Texts()
        self.typed = []
        self.methods = {}

    cdef inline Target target(self, PyObject* method):
        cdef PyObject* known
        if method is <PyObject*>self.last_method:
            return self.last_target
        known = PyDict_GetItemWithError(self.methods, <object>method)
        if known is NULL:
            return None
        # PERF: 120 instructions less for the same object the next time; the parser has one for each method.
        self.last_method = <str>method
        self.last_target = <Target>known
        return self.last_target


@cython.final
cdef class Entry:
    """A text and its node, in a chain of those that share a bucket."""

    cdef uint64_t hash
    cdef bytes text
    cdef Node node
    cdef Entry next


@cython.final
cdef class Texts:
    """Nodes by texts: a hash table to look in without an object for the text.

    PERF: 120 instructions a look, a dict of bytes takes 420 (callgrind, CPython 3.11). The hash needs no
    secret: the texts are the application's, and a peer chooses only which of the short chains is looked
    through.
    """

    cdef list buckets  # a power of two of them, more than texts; or none
    cdef Py_ssize_t count

    def __init__(self):
        self.buckets = []

    cdef inline Node get(self, octets_t text, Py_ssize_t size):
        cdef Py_ssize_t count = PyList_GET_SIZE(self.buckets)
        cdef uint64_t hash
        cdef Entry entry
        if count == 0:
            return None
        hash = hash_of(text, size)
        entry = <Entry>PyList_GET_ITEM(self.buckets, hash & (count - 1))
        while entry is not None:
            if entry.hash == hash and is_same(entry.text, text, size):
                return entry.node
            entry = entry.next
        return None

    cdef set(self, bytes text, Node node):
        """Enter a text that is not there yet."""
        cdef Entry entry = Entry.__new__(Entry)
        entry.hash = hash_of(<octets_t>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        entry.text = text
        entry.node = node
        self.count += 1
        if self.count >= len(self.buckets):
            self.grow()
        self.link(entry)

    cdef grow(self):
        cdef list old = self.buckets
        cdef Entry entry, after
        self.buckets = [None] * max(4, 2 * len(old))
        for entry in old:
            while entry is not None:
                after = entry.next
                self.link(entry)
                entry = after

    cdef link(self, Entry entry):
        cdef Py_ssize_t bucket = entry.hash & (len(self.buckets) - 1)
        entry.next = self.buckets[bucket]
        self.buckets[bucket] = entry


@cython.final
cdef class Router:
    """A table of patterns that answers by method and raw path; see router_py."""

    cdef Node root
    cdef Texts whole

    def __init__(self):
        self.root = Node()
        self.whole = Texts()

    def add(self, segments, methods, leaf):
        """Register a leaf for methods of a pattern; see router_py."""
        cdef Node node = self.root
        cdef list names = []
        cdef bytes raw = b""
        for kind, text, name, convert in segments:
            if kind != STATIC:
                names.append(intern(name))  # PERF: as the constants that handlers ask with
            raw += b"/" + quote(text, safe=_PCHAR).encode()
            node = grow(node, kind, text, convert)
        enter(node, methods, Target(leaf, tuple(names)))
        if not names and self.whole.get(<octets_t>PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)) is None:
            self.whole.set(raw, node)

    def match(self, str method not None, bytes path not None):
        """Return (leaf, parameters or None) for a method and a raw path, or None; see router_py."""
        cdef Walk walk
        cdef Target target
        cdef Node node = self.whole.get(<octets_t>PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
        walk.method = <PyObject*>method
        if node is not None:
            target = node.target(walk.method)
            if target is not None:
                return target.found
        path = begin(&walk, path)
        if walk.start < walk.end and walk.start[0] != walk.separator:  # the asterisk form
            return None
        return find(self.root, walk.start, &walk, NULL)

    def allowed(self, bytes path not None):
        """Return the methods that have a leaf for a raw path, sorted; see router_py."""
        cdef Walk walk
        cdef set found = set()
        path = begin(&walk, path)
        if walk.start == walk.end or walk.start[0] == walk.separator:
            collect(self.root, walk.start, &walk, found)
        return sorted(found)


cdef Node grow(Node node, int kind, str text, object convert):
    """Return the node behind an edge, made where it is not there yet."""
    cdef Node child
    cdef bytes octets
    if kind == STATIC:
        octets = text.encode()
        child = node.statics.get(<octets_t>PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))
        if child is None:
            child = Node()
            node.statics.set(octets, child)
        return child
    node.is_fork = True
    if kind == PLAIN:
        node.plain = node.plain or Node()
        return node.plain
    if kind == WILDCARD:
        node.wildcard = node.wildcard or Node()
        return node.wildcard
    return grow_typed(node, kind, text, convert)


cdef Node grow_typed(Node node, int kind, str text, object convert):
    cdef tuple edge
    for edge in node.typed:
        if edge[1] == text:
            return edge[3]
    if convert is None:
        raise ValueError(f"the type {text!r} came without a converter")
    edge = (kind, text, convert, Node())
    node.typed.append(edge)
    node.typed.sort(key=itemgetter(0))
    return edge[3]


cdef enter(Node node, methods, Target target):
    """Enter a target under its methods, and GET's under HEAD where HEAD has none of its own."""
    cdef dict known = node.methods
    is_implied = "HEAD" not in known or known["HEAD"] is known.get("GET")
    for method in methods:
        known[method] = target
        is_implied = is_implied and method != "HEAD"
    if is_implied and "GET" in known:
        known["HEAD"] = known["GET"]
    node.last_method = None


cdef bytes begin(Walk* walk, bytes path):
    """Make a walk ready for a raw path; returns the object whose octets it goes over."""
    walk.separator = SLASH
    if not is_plain(<octets_t>PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path)):
        walk.separator = BETWEEN
        path = rewritten(path)
    walk.start = <octets_t>PyBytes_AS_STRING(path)
    walk.end = walk.start + PyBytes_GET_SIZE(path)
    return path


cdef bytes rewritten(bytes path):
    """Decode a path and put 0xFF for the slashes that were there before."""
    try:
        decode_component(path)  # finds broken triples and what is not UTF-8
    except ValueError as exc:
        raise HTTPError(400, "The path is not UTF-8 text behind whole percent triples") from exc
    cdef octets_t at = <octets_t>PyBytes_AS_STRING(path)
    cdef bytes copy = PyBytes_FromStringAndSize(NULL, len(path) - 2 * path.count(b"%"))
    cdef unsigned char* target = <unsigned char*>PyBytes_AS_STRING(copy)
    cdef Py_ssize_t index
    for index in range(len(copy)):
        if at[0] == c"%":
            target[index] = hex_value(at[1]) << 4 | hex_value(at[2])
            at += 3
        else:
            target[index] = BETWEEN if at[0] == SLASH else at[0]
            at += 1
    return copy


cdef tuple find(Node node, octets_t at, Walk* walk, Step* last):
    """Walk down from a node, from the separator at ``at``; returns what ``match`` does."""
    cdef octets_t start
    cdef Node child
    cdef Step step
    cdef tuple found
    while at < walk.end:
        start = at + 1
        at = find_end(start, walk)
        child = node.statics.get(start, at - start)
        if not node.is_fork:
            if child is None:
                return None
            node = child  # PERF: without another edge there is nothing to come back for
            continue
        if child is not None:
            found = find(child, at, walk, last)
            if found is not None:
                return found
        if at > start:
            step.before, step.start, step.end, step.value = last, start, at, NULL
            found = find_parameter(node, walk, &step)
            if found is not None:
                return found
        return find_rest(node.wildcard, start, walk, last)
    return answer(node, walk, last)


cdef tuple find_parameter(Node node, Walk* walk, Step* step):
    """Walk down a node's typed edges that take a segment, then the plain one."""
    cdef tuple edge
    cdef tuple found
    cdef object value
    cdef str text
    if PyList_GET_SIZE(node.typed):
        text = text_of(step, walk)
        for edge in node.typed:
            try:
                value = edge[2](text)
            except ValueError:
                continue
            step.value = <PyObject*>value
            found = find(<Node>edge[3], step.end, walk, step)
            if found is not None:
                return found
        step.value = NULL
    if node.plain is None:
        return None
    return find(node.plain, step.end, walk, step)


cdef tuple find_rest(Node node, octets_t start, Walk* walk, Step* last):
    """Let a wildcard take all octets from ``start`` on."""
    cdef Step step
    cdef str rest
    if node is None or start == walk.end or node.target(walk.method) is None:
        return None
    step.before, step.start, step.end, step.value = last, start, walk.end, NULL
    if walk.separator == SLASH:
        return answer(node, walk, &step)
    rest = start[: walk.end - start].replace(b"\xff", b"/").decode()
    step.value = <PyObject*>rest
    return answer(node, walk, &step)


cdef tuple answer(Node node, Walk* walk, Step* last):
    """Return the leaf at the end of a walk with the parameters on the way, or None for another method."""
    cdef Target target = node.target(walk.method)
    cdef dict params
    if target is None:
        return None
    if last is NULL:
        return target.found
    params = {}
    fill(params, target.names, len(target.names) - 1, last, walk)
    return target.leaf, params


cdef int fill(dict params, tuple names, Py_ssize_t index, Step* step, Walk* walk) except -1:
    """Enter the parameters up to a step, the first of the path first."""
    if step.before is not NULL:
        fill(params, names, index - 1, step.before, walk)
    params[names[index]] = text_of(step, walk) if step.value is NULL else <object>step.value
    return 0


cdef int collect(Node node, octets_t at, Walk* walk, set found) except -1:
    """Add the methods of every pattern below a node that takes the octets from ``at`` on."""
    cdef octets_t start = at + 1
    cdef Node child
    cdef Step step
    if at == walk.end:
        found.update(node.methods)
        return 0
    step.start, step.end = start, find_end(start, walk)
    child = node.statics.get(start, step.end - start)
    if child is not None:
        collect(child, step.end, walk, found)
    if step.end > start:
        collect_parameter(node, walk, &step, found)
    if node.wildcard is not None and start < walk.end:
        found.update(node.wildcard.methods)
    return 0


cdef int collect_parameter(Node node, Walk* walk, Step* step, set found) except -1:
    cdef tuple edge
    cdef str text
    if PyList_GET_SIZE(node.typed):
        text = text_of(step, walk)
        for edge in node.typed:
            try:
                edge[2](text)
            except ValueError:
                continue
            collect(<Node>edge[3], step.end, walk, found)
    if node.plain is not None:
        collect(node.plain, step.end, walk, found)
    return 0


# --- octets -----------------------------------------------------------------------------------------------


cdef inline octets_t find_end(octets_t start, Walk* walk) noexcept:
    """Return the end of the segment that starts here."""
    cdef octets_t found = <octets_t>memchr(start, walk.separator, walk.end - start)
    return walk.end if found is NULL else found


cdef inline unsigned char hex_value(unsigned char digit) noexcept:
    return (digit & 0x0F) + 9 * (digit >> 6)


cdef inline str text_of(Step* step, Walk* walk):
    cdef Py_ssize_t size = step.end - step.start
    cdef str text
    if walk.separator != SLASH:
        return PyUnicode_DecodeUTF8(<const char*>step.start, size, NULL)
    text = PyUnicode_New(size, 0x7F)  # PERF: it is ASCII; 100 instructions less than to decode it
    memcpy(PyUnicode_1BYTE_DATA(text), step.start, size)
    return text


cdef inline bint is_same(bytes text, octets_t octets, Py_ssize_t size) noexcept:
    return PyBytes_GET_SIZE(text) == size and memcmp(PyBytes_AS_STRING(text), octets, size) == 0
