from __future__ import annotations

import copy
import zipfile
from pathlib import Path

import pytest

from mmbench.data.readers.archives import unpacked


def make(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_the_one_folder_of_an_archive(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", "ml/u.data", "ml/sub/x", "ml/empty/", "__MACOSX/junk")
    with unpacked(path) as folder:
        assert folder.name == "ml"
        assert (folder / "sub" / "x").read_text() == "ml/sub/x"
        assert (folder / "empty").is_dir()
    assert not folder.exists()


def test_files_without_a_folder(tmp_path: Path) -> None:
    with unpacked(make(tmp_path / "a.zip", "a.csv", "dir\\b.csv")) as folder:
        assert sorted(path.name for path in folder.rglob("*.csv")) == ["a.csv", "b.csv"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "C:/x", "C:x"])
def test_nothing_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in" / "a.zip", "fine", name)
    with pytest.raises(ValueError, match="leads out of the archive; nothing was unpacked"), unpacked(path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_an_entry_for_the_folder_itself(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", "./", "./ml/u.data")
    with unpacked(path) as folder:
        assert (folder / "u.data").read_text() == "./ml/u.data"


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["a", "a/b/c"], ["a", "a/"], ["a/", "a"], ["."]])
def test_an_entry_that_is_a_file_and_a_folder(tmp_path: Path, names: list[str]) -> None:
    message = r"a.zip: the entry '[^']*' makes one name a file and a folder$"
    with pytest.raises(ValueError, match=message), unpacked(make(tmp_path / "a.zip", *names)):
        pass


def test_entries_that_share_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0", bytes(1 << 24))
        first = archive.infolist()[0]
        for number in range(1, 4):
            again = copy.copy(first)
            again.filename = str(number)
            archive.filelist.append(again)
    with pytest.raises(ValueError, match=r"a.zip: its entries grow more than 1000-fold; unpack"), unpacked(path):
        pass


def test_an_encrypted_entry(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", "a.csv")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"the entry 'a.csv' is encrypted"), unpacked(path):
        pass
