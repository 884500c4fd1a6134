"""The keys of the API and the console's password: read from files, and refused where they are weak or the same."""

from pathlib import Path

import pytest

from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.secrets import api_keys

GOOD = "0123456789abcdef" * 4


def config(*paths: Path) -> Config:
    keys = [
        {"name": f"key-{i}", "key_file": str(path), "rights": ["read"], "domains": ["*"]}
        for i, path in enumerate(paths)
    ]
    return Config.model_validate({"hostname": "m.example.com", "domains": ["example.com"], "web": {"keys": keys}})


@pytest.mark.parametrize("text", [GOOD, f"{GOOD}\n", f"{GOOD}\r\n", "k" * 32, "~" * 255])
def test_a_good_key_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_bytes(text.encode())
    assert api_keys.read(config(tmp_path / "key")) == (text.strip(),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "is empty: `openssl rand -hex 32` makes a key"),
        (b"\n", "is empty"),
        (b"k" * 31, "is not one line of 32 to 255 ASCII characters"),
        (b"k" * 256, "is not one line"),
        (b"k" * 40 + b"\n\n", "is not one line"),
        (b"k" * 40 + b" k", "is not one line"),
        (b"k" * 40 + b"\0", "is not one line"),
        ("ä".encode() * 40, "is not one line"),
        (None, "is not there: mount the file"),
    ],
)
def test_a_weak_key_is_refused(tmp_path: Path, text: bytes | None, why: str) -> None:
    if text is not None:
        (tmp_path / "key").write_bytes(text)
    with pytest.raises(InstallError, match=r"^At 'web\.keys\[0\]\.key_file': ") as caught:
        api_keys.read(config(tmp_path / "key"))
    assert why in str(caught.value)
    assert "kkkk" not in str(caught.value)


def test_two_keys_are_not_the_same(tmp_path: Path) -> None:
    for name, text in (("a", GOOD), ("b", GOOD[::-1]), ("c", GOOD)):
        (tmp_path / name).write_text(text)
    with pytest.raises(InstallError) as caught:
        api_keys.read(config(*(tmp_path / name for name in "abc")))
    assert str(caught.value).startswith(f"At 'web.keys[2].key_file': {tmp_path}/c holds the key of web.keys[0]: ")


def test_without_an_api_there_is_nothing_to_read() -> None:
    assert api_keys.read(Config.model_validate({"hostname": "m.example.com", "domains": ["example.com"]})) == ()


HASH = "$argon2id$v=19$m=19456,t=2,p=1$N0b3HL4xjRBN+a6cbGStyA$xY5Ll/2La9K6fsNtxyUyWnKXQ2opwmOv5IQQpomKHK0"


def with_password(path: Path) -> Config:
    return Config.model_validate(
        {"hostname": "m.example.com", "domains": ["example.com"], "web": {"password_file": str(path)}}
    )


@pytest.mark.parametrize("text", ["twelve chars", "비밀번호는 열두 글자보다", HASH])
def test_a_good_password_or_its_hash(tmp_path: Path, text: str) -> None:
    (tmp_path / "password").write_text(f"{text}\n")
    assert api_keys.passwords(with_password(tmp_path / "password")) == (text, "")
    assert api_keys.files(with_password(tmp_path / "password")) == [tmp_path / "password"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("elevenchars", "holds fewer than 12 characters"),
        ("$2b$12$abcdefghijklmnopqrstuv", "is not an argon2id hash"),
        (HASH.replace("argon2id", "argon2i"), "is not an argon2id hash"),
        (HASH.replace("m=19456", "m=99999999"), "is not an argon2id hash"),
        (HASH[:40], "is not an argon2id hash"),
    ],
)
def test_a_weak_password_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "password").write_text(text)
    with pytest.raises(InstallError, match=r"^At 'web\.password_file': ") as caught:
        api_keys.passwords(with_password(tmp_path / "password"))
    assert why in str(caught.value)
    assert not text or text not in str(caught.value)


def test_without_a_console_there_is_no_password() -> None:
    config = Config.model_validate({"hostname": "m.example.com", "domains": ["example.com"]})
    assert (api_keys.passwords(config), api_keys.files(config)) == (("", ""), [])


def with_both(folder: Path, operator: str, viewer: str) -> Config:
    (folder / "password").write_text(operator)
    (folder / "viewer").write_text(viewer)
    files = {"password_file": str(folder / "password"), "viewer_password_file": str(folder / "viewer")}
    return Config.model_validate({"hostname": "m.example.com", "domains": ["example.com"], "web": files})


def test_a_viewer_has_a_password_of_his_own(tmp_path: Path) -> None:
    config = with_both(tmp_path, "twelve chars", "another twelve")
    assert api_keys.passwords(config) == ("twelve chars", "another twelve")
    assert api_keys.files(config) == [tmp_path / "password", tmp_path / "viewer"]


@pytest.mark.parametrize(
    ("operator", "viewer", "why"),
    [
        ("twelve chars", "twelve chars", "holds the password of web.password_file"),
        ("twelve chars", "short", "holds fewer than 12 characters"),
        ("short", "short too", "web.password_file.*\n.*web.viewer_password_file"),
    ],
)
def test_a_viewer_s_password_is_as_good_and_another(tmp_path: Path, operator: str, viewer: str, why: str) -> None:
    with pytest.raises(InstallError, match=why):
        api_keys.passwords(with_both(tmp_path, operator, viewer))
