"""All that is compiled, and the only place that chooses between the twins.

The compiled modules are taken unless ``CELLO_NO_EXTENSIONS`` is set or the install has none of them (a pure
wheel). An install that has them but cannot load them is broken, and says so with the import's own error.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING


def _why_pure() -> str:
    """Return why the pure twins are taken; nothing where the compiled ones are."""
    if os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0"):
        return "CELLO_NO_EXTENSIONS is set"
    if find_spec(f"{__name__}.octets_c") is None:
        return "this install has none: install Cello where there is a C compiler"
    return ""


WHY_PURE = _why_pure()

if TYPE_CHECKING or WHY_PURE:
    from .calls_py import fine_seconds, note_wait, switches, waits, watch_waits
    from .dispatch_py import Dispatcher, Endpoint, Exchange
    from .evidence_py import Evidence
    from .filters_py import FilteredStream, Filters
    from .h1_py import H1Connection
    from .h1_reader_py import ReaderSettings
    from .h1_send_py import Service
    from .headers_py import Headers
    from .log_lines_py import LogLines, escape
    from .octets_py import (
        decode_component,
        is_authority,
        is_field_value,
        is_target_path,
        is_token,
        split_pairs,
    )
    from .query_py import MAX_QUERY_FIELDS, QueryParams, install_index, read_query
    from .request_log_py import RequestLog
    from .request_py import Request, install_decoders, make_request
    from .router_py import Router
    from .states_py import INLINE, TASK, THREAD
    from .stream_py import AnswerStream
    from .wire_py import chunk, render

    IMPLEMENTATION = "pure"
else:
    from .calls_c import fine_seconds, note_wait, switches, waits, watch_waits
    from .dispatch_c import Dispatcher, Endpoint, Exchange
    from .evidence_c import Evidence
    from .filters_c import FilteredStream, Filters
    from .h1_c import H1Connection
    from .h1_reader_c import ReaderSettings
    from .h1_send_c import Service
    from .headers_c import Headers
    from .log_lines_c import LogLines, escape
    from .octets_c import (
        decode_component,
        is_authority,
        is_field_value,
        is_target_path,
        is_token,
        split_pairs,
    )
    from .query_c import MAX_QUERY_FIELDS, QueryParams, install_index, read_query
    from .request_c import Request, install_decoders, make_request
    from .request_log_c import RequestLog
    from .router_c import Router
    from .states_c import INLINE, TASK, THREAD
    from .stream_c import AnswerStream
    from .wire_c import chunk, render

    IMPLEMENTATION = "compiled"

__all__ = [
    "IMPLEMENTATION",
    "INLINE",
    "MAX_QUERY_FIELDS",
    "TASK",
    "THREAD",
    "WHY_PURE",
    "AnswerStream",
    "Dispatcher",
    "Endpoint",
    "Evidence",
    "Exchange",
    "FilteredStream",
    "Filters",
    "H1Connection",
    "Headers",
    "LogLines",
    "QueryParams",
    "ReaderSettings",
    "Request",
    "RequestLog",
    "Router",
    "Service",
    "chunk",
    "decode_component",
    "escape",
    "fine_seconds",
    "install_decoders",
    "install_index",
    "is_authority",
    "is_field_value",
    "is_target_path",
    "is_token",
    "make_request",
    "note_wait",
    "read_query",
    "render",
    "split_pairs",
    "switches",
    "waits",
    "watch_waits",
]
