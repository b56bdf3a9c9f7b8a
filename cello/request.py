"""Requests: the compiled or pure ``Request`` with the decoders of its parts handed in."""

from __future__ import annotations

from ._speedups import Request, install_decoders, make_request
from .cookies import parse_cookies
from .forms import parse_urlencoded
from .json_codec import decode
from .negotiation import accepts

install_decoders(json=decode, cookies=parse_cookies, form=parse_urlencoded, accepts=accepts)

__all__ = ["Request", "make_request"]
