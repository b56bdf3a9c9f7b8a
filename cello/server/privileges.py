"""Giving up root's privileges: who to become, becoming it for good, and what it must still be able to do.

A server that is started as root, for the sake of a low port, opens its sockets, becomes an ordinary user and
only then runs hooks and handlers. The groups go first, then the user: the other way round the process would
not be allowed to any more. Whether root can be had back is tried, and not believed.

The files of ``TlsConfig`` are read again when they are renewed, so the user must be able to read them.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any

from ..config import TlsConfig
from ..errors import StartError


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and a group, by their ids; ``name`` is the user's in the system's database, None without one."""

    uid: int
    gid: int
    name: str | None = None

    def __str__(self) -> str:
        return repr(self.name) if self.name is not None else str(self.uid)


def find_identity(user: str | int | None, group: str | int | None = None) -> Identity | None:
    """Find whom this process is to become; None: nobody else than it is.

    Names or numbers; without a group it is the user's own. Raises StartError for one that is unknown, and
    where this process may not become another.
    """
    if user is None:
        return None
    identity = _look_up(user, group)
    if os.geteuid() == 0:
        return identity
    if identity.uid == os.geteuid() and (group is None or identity.gid == os.getegid()):
        return None
    given = f"user={user!r}" if group is None else f"user={user!r}, group={group!r}"
    raise StartError(
        f"{given}: only root can become another, and this process runs as user {os.geteuid()}, group "
        f"{os.getegid()}; start it as root, or leave user and group out"
    )


def _look_up(user: str | int, group: str | int | None) -> Identity:
    try:
        import grp
        import pwd
    except ImportError:
        raise StartError(f"user={user!r}: Windows cannot change a process's user") from None
    found = _entry(user, pwd.getpwnam, pwd.getpwuid)
    number = _number(user)
    if found is None and number is None:
        raise StartError(f"user={user!r}: there is no such user on this machine")
    if group is None:
        if found is None:
            raise StartError(f"user={user!r}: this number is no user of this machine's; give group as well")
        return Identity(found.pw_uid, found.pw_gid, found.pw_name)
    entry = _entry(group, grp.getgrnam, grp.getgrgid)
    gid = _number(group) if entry is None else entry.gr_gid
    if gid is None:
        raise StartError(f"group={group!r}: there is no such group on this machine")
    if found is None:
        assert number is not None
        return Identity(number, gid)
    return Identity(found.pw_uid, gid, found.pw_name)


def _number(given: str | int) -> int | None:
    if isinstance(given, int):
        return given
    return int(given) if given.isascii() and given.isdigit() else None


def _entry(given: str | int, by_name: Any, by_number: Any) -> Any:
    """Return the database's entry of a name or a number, or None; digits may be a name as well."""
    try:
        if isinstance(given, str):
            return by_name(given)
    except KeyError:
        pass
    number = _number(given)
    try:
        return None if number is None else by_number(number)
    except (KeyError, OverflowError):
        return None


def become(identity: Identity) -> None:
    """Become a user, for good; raises StartError, and then the process must end."""
    try:
        if identity.name is not None:
            os.initgroups(identity.name, identity.gid)
        else:
            os.setgroups([identity.gid])
        os.setgid(identity.gid)
        os.setuid(identity.uid)
    except (OSError, OverflowError) as exc:
        raise StartError(f"user={identity}: cannot become it: {exc}") from exc
    is_become = os.getuid() == os.geteuid() == identity.uid and os.getgid() == os.getegid() == identity.gid
    if not is_become or (identity.uid and _can_be_root()):
        raise StartError(f"user={identity}: the process kept privileges of root, so nothing is served")


def _can_be_root() -> bool:
    for attempt in (os.setuid, os.seteuid):
        try:
            attempt(0)
        except PermissionError:
            continue
        return True
    return False


def check_readable(tls: TlsConfig, identity: Identity) -> None:
    """Check that this process, which has become a user, may read TLS files; raises StartError."""
    for field in ("cert_path", "key_path", "client_ca_path"):
        path = getattr(tls, field)
        if path is None:
            continue
        try:
            with open(path, "rb"):
                pass
        except PermissionError as exc:
            raise StartError(
                f"TlsConfig({field}={os.fspath(path)!r}): user {identity} may not read it, which is needed "
                "again when it is renewed; give the user or its group the permission"
            ) from exc
        except OSError:
            continue  # whoever loads it has words for that


def can_remove(path: str) -> bool:
    """Tell whether this process may remove a file: its directory decides, and its owner in a sticky one."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    found = os.stat(folder)
    if not found.st_mode & stat.S_ISVTX:
        return True
    return os.geteuid() in (0, found.st_uid, os.lstat(path).st_uid)
