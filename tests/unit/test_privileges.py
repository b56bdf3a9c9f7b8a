"""Whom a process may become, and what it could remove then."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cello.errors import StartError

pwd = pytest.importorskip("pwd", reason="no users to become here")
grp = pytest.importorskip("grp")

from cello.server import privileges  # noqa: E402
from cello.server.privileges import Identity, can_remove, find_identity  # noqa: E402

NOBODY = pwd.getpwnam("nobody")
UNUSED = 3_999_999_999


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
class TestRoot:
    @pytest.mark.parametrize("user", ["nobody", NOBODY.pw_uid, str(NOBODY.pw_uid)])
    def test_a_user_by_name_or_number(self, user: str | int) -> None:
        assert find_identity(user) == Identity(NOBODY.pw_uid, NOBODY.pw_gid, "nobody")

    @pytest.mark.parametrize("group", [1, "1", grp.getgrgid(1).gr_name])
    def test_a_group_by_name_or_number(self, group: str | int) -> None:
        assert find_identity("nobody", group) == Identity(NOBODY.pw_uid, 1, "nobody")

    def test_numbers_that_are_nobodys(self) -> None:
        assert find_identity(UNUSED, UNUSED - 1) == Identity(UNUSED, UNUSED - 1, None)
        assert find_identity(str(UNUSED), str(UNUSED)) == Identity(UNUSED, UNUSED, None)

    def test_a_number_that_is_nobodys_needs_a_group(self) -> None:
        with pytest.raises(StartError) as caught:
            find_identity(UNUSED)
        told = "this number is no user of this machine's; give group as well"
        assert str(caught.value) == f"user={UNUSED}: {told}"

    def test_unknown_names(self) -> None:
        with pytest.raises(
            StartError, match=r"^user='nobody-at-all': there is no such user on this machine$"
        ):
            find_identity("nobody-at-all")
        with pytest.raises(StartError, match=r"^group='no-group': there is no such group on this machine$"):
            find_identity("nobody", "no-group")

    def test_no_user_is_nobody_else(self) -> None:
        assert find_identity(None) is None


class TestOthers:
    def test_whoever_it_is_already_is_fine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
        monkeypatch.setattr(os, "getegid", lambda: NOBODY.pw_gid)
        assert find_identity("nobody") is None
        assert find_identity("nobody", NOBODY.pw_gid) is None

    @pytest.mark.parametrize(
        ("user", "group", "given"),
        [("nobody", 1, "user='nobody', group=1"), ("root", None, "user='root'"), (0, None, "user=0")],
    )
    def test_another_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, user: str | int, group: int | None, given: str
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
        monkeypatch.setattr(os, "getegid", lambda: NOBODY.pw_gid)
        with pytest.raises(StartError) as caught:
            find_identity(user, group)
        assert str(caught.value) == (
            f"{given}: only root can become another, and this process runs as user {NOBODY.pw_uid}, group "
            f"{NOBODY.pw_gid}; start it as root, or leave user and group out"
        )


def test_an_identity_in_words() -> None:
    assert (str(Identity(1, 2, "www")), str(Identity(1, 2))) == ("'www'", "1")


@pytest.mark.parametrize(
    ("euid", "is_sticky", "is_removable"),
    [(0, True, True), (UNUSED, True, False), (UNUSED, False, True), (os.geteuid(), True, True)],
)
def test_who_may_remove_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, euid: int, is_sticky: bool, is_removable: bool
) -> None:
    tmp_path.chmod(0o777 | (stat.S_ISVTX if is_sticky else 0))
    (tmp_path / "f").touch()
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    assert can_remove(str(tmp_path / "f")) is is_removable


def test_a_directory_that_may_not_be_written_to_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").touch()
    monkeypatch.setattr(privileges.os, "access", lambda path, mode: False)
    assert can_remove(str(tmp_path / "f")) is False
