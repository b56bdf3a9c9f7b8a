"""Cookies (RFC 6265): read leniently, written strictly."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from .errors import ResponseError

MAX_COOKIES = 1000
"""Cookies read from one request; browsers keep 50 to 200 for a site (RFC 6265 6.1 asks for 50)."""

# RFC 6265 4.1.1: cookie-name = token (RFC 9110 5.6.2)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 6265 4.1.1: cookie-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
_COOKIE_OCTETS = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
# RFC 6265 4.1.1: path-value = *av-octet, any CHAR except CTLs or ";"; a browser ignores one that lacks the
# slash (5.2.4)
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
# RFC 1123 2.1 host names; the leading dot of older specifications is ignored by browsers (RFC 6265 5.2.3)
_DOMAIN = re.compile(r"\.?[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*")

_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}
_EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


def parse_cookies(header: str) -> dict[str, str]:
    """Read a Cookie field's value into names and values.

    Of a name that comes twice the first counts: browsers send the cookie with the longest path first (RFC
    6265 5.4). One pair of double quotes around a value is taken off; nothing is percent-decoded. Deliberately
    lenient: what is no name=value pair is passed over, and so is what follows the first MAX_COOKIES pieces.
    """
    cookies: dict[str, str] = {}
    for pair in header.split(";", MAX_COOKIES)[:MAX_COOKIES]:
        name, equals, value = pair.partition("=")
        # Only space and tab: str.strip() alone would turn "\xa0__Host-id", which anybody may set, into
        # "__Host-id".
        name = name.strip(" \t")
        if not equals or not name or name in cookies:
            continue
        value = value.strip(" \t")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        cookies[name] = value
    return cookies


def render_set_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    expires: datetime | float | str | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: str | None = "Lax",
) -> str:
    """Render the value of a Set-Cookie field.

    ``max_age`` is in seconds, 0 deletes; ``expires`` is a datetime (UTC when naive), seconds since 1970, or
    an HTTP date; ``samesite`` is Lax, Strict or None in any case, and None (the object) leaves the attribute
    out, as it does for ``path``. Raises ResponseError for what RFC 6265 4.1.1 does not allow or a browser
    would drop.
    """
    _check_pair(name, value)
    _check_prefix(name, path, domain, secure)
    attributes = [f"{name}={value}"]
    if max_age is not None:
        attributes.append(f"Max-Age={_checked_max_age(max_age)}")
    if expires is not None:
        attributes.append(f"Expires={_http_date(expires)}")
    if path is not None:
        attributes.append(f"Path={_checked('path', path, _PATH)}")
    if domain is not None:
        attributes.append(f"Domain={_checked('domain', domain, _DOMAIN)}")
    if secure:
        attributes.append("Secure")
    if httponly:
        attributes.append("HttpOnly")
    if samesite is not None:
        attributes.append(f"SameSite={_checked_same_site(samesite, secure)}")
    return "; ".join(attributes)


def render_delete_cookie(
    name: str,
    *,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: str | None = "Lax",
) -> str:
    """Render a Set-Cookie field's value that makes a browser forget.

    ``path`` and ``domain`` have to be those that it was set with (RFC 6265 5.3), and ``secure`` too where it
    was set with it: a browser refuses to overwrite it otherwise.
    """
    return render_set_cookie(
        name,
        "",
        max_age=0,
        expires=_EPOCH,
        path=path,
        domain=domain,
        secure=secure,
        httponly=httponly,
        samesite=samesite,
    )


def _check_pair(name: str, value: str) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ResponseError(
            f"a cookie's name is a token of letters, digits and !#$%&'*+-.^_`|~, got {name!r:.80}"
        )
    if not isinstance(value, str):
        raise ResponseError(f"the value of cookie {name!r} is a str, got {type(value).__name__}")
    if not _COOKIE_OCTETS.fullmatch(value):
        raise ResponseError(
            f'the value of cookie {name!r} holds a control character, a space, one of ",;\\ or is not ASCII: '
            f"{value!r:.80}; encode it first, for example with urllib.parse.quote"
        )


def _check_prefix(name: str, path: str | None, domain: str | None, secure: bool) -> None:
    # RFC 6265bis 4.1.3: a browser drops, without a word, a cookie that breaks the promise of its prefix.
    lowered = name.lower()
    if lowered.startswith(("__secure-", "__host-")) and not secure:
        raise ResponseError(f"cookie {name!r} needs secure=True because of its prefix")
    if lowered.startswith("__host-") and (domain is not None or path != "/"):
        raise ResponseError(f'cookie {name!r} needs path="/" and no domain because of its prefix')


def _checked_max_age(max_age: int) -> int:
    if isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0:
        raise ResponseError(f"a cookie's max_age is a count of seconds, 0 or more, got {max_age!r:.80}")
    return max_age


def _checked(label: str, text: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        expected = {
            "path": 'text that starts with "/", in ASCII without control characters and ";"',
            "domain": "a host name (an international one in its xn-- form)",
        }
        raise ResponseError(f"a cookie's {label} is {expected[label]}, got {text!r:.80}")
    return text


def _checked_same_site(samesite: str, secure: bool) -> str:
    canonical = _SAME_SITE.get(samesite.lower()) if isinstance(samesite, str) else None
    if canonical is None:
        raise ResponseError(f'a cookie\'s samesite is "Lax", "Strict" or "None", got {samesite!r:.80}')
    if canonical == "None" and not secure:
        raise ResponseError('a cookie with samesite="None" needs secure=True: browsers drop it otherwise')
    return canonical


def _http_date(moment: datetime | float | str) -> str:
    """Render an IMF-fixdate (RFC 9110 5.6.7), whatever the locale."""
    try:
        if isinstance(moment, str):
            moment = parsedate_to_datetime(moment)
        elif not isinstance(moment, datetime):
            moment = datetime.fromtimestamp(moment, UTC)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return format_datetime(moment.astimezone(UTC), usegmt=True)
    except (TypeError, ValueError, OverflowError, OSError) as exc:
        raise ResponseError(
            f"a cookie's expires is a datetime, seconds since 1970 or an HTTP date, got {moment!r:.80}"
        ) from exc
