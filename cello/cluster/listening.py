"""The listeners of a cluster: held by the supervisor for its life, and handed to every process.

On Linux each slot has listeners of its own, joined by SO_REUSEPORT: the kernel spreads connections over them,
and what waits in the queue of a worker that died waits for its replacement. The first is bound without that
option, so that a foreign server on the port is found and not joined. Elsewhere, and for sockets that were
handed to Cello or have a path, all slots share one set.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import sys

from ..server.sockets import BACKLOG, close_listener

logger = logging.getLogger("cello")

HAS_OWN_LISTENERS = sys.platform.startswith("linux") and hasattr(socket, "SO_REUSEPORT")
SHARED = 0

_SO_ATTACH_REUSEPORT_CBPF = 51  # <asm-generic/socket.h>; the socket module has no name for it
_SKF_AD_RANDOM = 0xFFFFF000 + 56  # <linux/filter.h>: SKF_AD_OFF + SKF_AD_RANDOM
_LOAD_WORD, _MODULO, _RETURN_A = (
    0x20,
    0x94,
    0x16,
)  # BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_MOD|BPF_K, BPF_RET|BPF_A


class Listeners:
    """Every slot's listeners; the first slot's are given, and owned from then on."""

    def __init__(self, first: list[socket.socket], slots: int) -> None:
        families = (socket.AF_INET, socket.AF_INET6)
        is_inet = all(listener.family in families for listener in first)
        self.has_own = HAS_OWN_LISTENERS and is_inet and slots > 1
        self.of_slots: dict[int, list[socket.socket]] = {SHARED: first}
        self._is_steered = False
        if not self.has_own:
            return
        for listener in first:
            # Bound already: whoever else had the port has been found. From now on siblings may join.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for slot in range(1, slots):
            self.open(slot)

    def open(self, slot: int) -> list[socket.socket]:
        """Open a slot's own listeners beside the others; raises OSError."""
        opened: list[socket.socket] = []
        try:
            for listener in self.of_slots[SHARED]:
                opened.append(_sibling_of(listener))
        except OSError:
            for listener in opened:
                listener.close()
            raise
        self.of_slots[slot] = opened
        if self._is_steered:
            for listener in self.of_slots[SHARED]:
                _steer(listener, slot + 1)
        return opened

    def close_last(self, slot: int) -> None:
        """Give up the last slot's listeners: new connections go to the others from now on."""
        for listener in self.of_slots[SHARED]:
            _steer(listener, slot)
        self._is_steered = True
        for listener in self.of_slots.pop(slot, ()):
            listener.close()

    def of(self, slot: int) -> list[socket.socket]:
        """Return the listeners that a slot's worker accepts from."""
        return self.of_slots[slot if self.has_own else SHARED]

    def close(self) -> None:
        """Close all of them, in this process."""
        for listeners in self.of_slots.values():
            for listener in listeners:
                close_listener(listener)
        self.of_slots.clear()


def _sibling_of(listener: socket.socket) -> socket.socket:
    sibling = socket.socket(listener.family, socket.SOCK_STREAM)
    try:
        sibling.setblocking(False)
        for level, option in _copied_options(listener):
            sibling.setsockopt(level, option, listener.getsockopt(level, option))
        sibling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sibling.bind(listener.getsockname())
        sibling.listen(BACKLOG)
    except OSError:
        sibling.close()
        raise
    return sibling


def _copied_options(listener: socket.socket) -> list[tuple[int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_REUSEADDR)]
    if listener.family == socket.AF_INET6:
        options.append((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT))
    return options


def _steer(listener: socket.socket, count: int) -> None:
    """Have the kernel spread new connections over the first ``count`` listeners of the group alone.

    A classic BPF program on the group returns a listener's index (SO_ATTACH_REUSEPORT_CBPF, socket(7)): a
    random number modulo the count, since not every network card gives packets a hash. Where the kernel
    refuses it, the last connections to a slot that is closed may be reset.
    """
    program = [(_LOAD_WORD, _SKF_AD_RANDOM), (_MODULO, count), (_RETURN_A, 0)]
    filters = b"".join(struct.pack("=HBBI", code, 0, 0, value) for code, value in program)
    import ctypes

    buffer = ctypes.create_string_buffer(filters, len(filters))
    header = struct.pack("HP", len(program), ctypes.addressof(buffer))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, header)
