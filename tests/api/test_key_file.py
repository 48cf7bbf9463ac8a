"""The file of API keys: made, added to whole or not at all, and refused where it is none."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from service.api.key_file import MOST_KEYS, add_key, digest_of, new_key, read_keys
from service.errors import BadSetting

HEX = "ab" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the keys are, or will be."""
    return tmp_path / "keys"


def test_a_key_is_known_by_its_digest_alone(file: Path) -> None:
    """The file that is made holds a name and a digest, and is its owner's alone."""
    key = add_key(file, "shop")

    assert read_keys(file) == {"shop": digest_of(key.encode())}
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_of_256_random_bits() -> None:
    """After what tells it from other secrets; no two are alike."""
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(re.fullmatch(r"sge_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_a_further_key_leaves_what_is_there(file: Path) -> None:
    """Comments, blank lines and the other keys, also where the last line has no end."""
    file.write_text(f"# ours\n\nshop sha256:{HEX}  # since May")
    file.chmod(0o640)

    key = add_key(file, "till-2")

    assert file.read_text().startswith(f"# ours\n\nshop sha256:{HEX}  # since May\ntill-2 sha256:")
    assert read_keys(file) == {"shop": bytes.fromhex(HEX), "till-2": digest_of(key.encode())}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["", "a b", "a\n", "ä", "-a", "a" * 65, "a#"])
def test_what_is_no_name_is_refused(file: Path, name: str) -> None:
    """It could not be read back, and no file is made."""
    with pytest.raises(BadSetting, match="is no name of a key"):
        add_key(file, name)

    assert not file.exists()


def test_a_name_that_is_there_is_refused(file: Path) -> None:
    """The file stays as it was."""
    add_key(file, "shop")
    before = file.read_bytes()

    with pytest.raises(BadSetting, match="has a key called 'shop' already"):
        add_key(file, "shop")

    assert file.read_bytes() == before


def test_a_line_that_cannot_stand_leaves_nothing(file: Path) -> None:
    """One key more than the limit is refused, and of its line nothing stays."""
    full = "".join(f"a{number} sha256:{HEX}\n" for number in range(MOST_KEYS))
    file.write_text(full)

    with pytest.raises(BadSetting, match=f"{MOST_KEYS + 1} keys, the limit is {MOST_KEYS}"):
        add_key(file, "shop")

    assert file.read_text() == full


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("shop sge_a-key-itself", "line 1 is not of the form NAME sha256:HEX"),
        (f"# a\nshop sha256:{HEX}00", "line 2 is not of the form"),
        (f"shop sha256:{HEX[1:]}", "line 1 is not of the form"),
        (f"sh\0p sha256:{HEX}", "line 1 is not of the form"),
        (f"a sha256:{HEX}\na sha256:{HEX}", "line 2 names a key that is there already"),
        ("#" * 300_000, "has more than 256000 bytes"),
        ("", "is empty; a comment alone stands for no key"),
    ],
)
def test_a_file_that_is_none_says_where(file: Path, content: str, reason: str) -> None:
    """By its line, and never by what stands there: it may be a key."""
    file.write_text(content)

    with pytest.raises(BadSetting) as refused:
        read_keys(file)

    assert reason in refused.value.message
    assert "a-key-itself" not in refused.value.message


def test_a_pipe_is_not_waited_for(file: Path) -> None:
    """Nobody may ever write to it."""
    os.mkfifo(file)

    with pytest.raises(BadSetting, match="is not a file"):
        read_keys(file)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """It is not there, or is a folder."""
    with pytest.raises(BadSetting, match="keys cannot be read: no such file"):
        read_keys(tmp_path / "keys")
    with pytest.raises(BadSetting, match="is not a file"):
        read_keys(tmp_path)
    with pytest.raises(BadSetting, match="cannot be written: is a directory"):
        add_key(tmp_path, "shop")
