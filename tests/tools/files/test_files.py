"""Tests of the tools' writing of files and of their reading and showing of text."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from skipstream_files import load_toml, printable, read_text, remove_leftovers, replaced, say, write


def _fail(file: Path, error: type[BaseException]) -> None:
    with replaced(file) as out:
        out.write(b"new")
        raise error


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextlib.contextmanager
def not_root() -> Iterator[None]:
    """For root every file and folder is writable: becomes another user for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that other users reach."""
    folders = [tmp_path, *tmp_path.parents]
    closed = [f for f in folders if f.owner() == "root" and not mode_of(f) & 0o001]
    modes = {folder: mode_of(folder) for folder in closed}
    for folder in closed:
        folder.chmod(modes[folder] | 0o011)
    yield tmp_path
    for folder in closed:
        folder.chmod(modes[folder])


def test_an_error_or_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write(file, b"old")
    for error in (OSError, KeyboardInterrupt):
        with pytest.raises(error):
            _fail(file, error)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_links_are_followed_also_to_what_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "old", b"old")
    (tmp_path / "link").symlink_to("real/old")
    (tmp_path / "dangling").symlink_to("real/new")
    write(tmp_path / "link", b"1")
    write(tmp_path / "dangling", b"2")
    assert (tmp_path / "real" / "old").read_bytes() == b"1"
    assert (tmp_path / "real" / "new").read_bytes() == b"2"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        write(tmp_path / "loop", b"3")


def test_a_replaced_file_keeps_its_mode_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "file"
    before = os.umask(0o027)
    try:
        write(file, b"1")
        assert mode_of(file) == 0o640
        file.chmod(0o604)
        write(file, b"2")
        assert mode_of(file) == 0o604
    finally:
        os.umask(before)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / ("a" * 255)
    write(file, b"1")
    write(file, b"2")
    assert file.read_bytes() == b"2"


def test_pipes_devices_and_descriptors_are_written_to_and_stay(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"image")
    reader.join()
    assert found == [b"image"]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)

    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as lost:
        write(full, b"x")
    assert lost.value.filename == str(full)
    assert full.is_symlink()

    with (tmp_path / "log").open("wb", buffering=0) as log:
        log.write(b"before ")
        write(Path(f"/dev/fd/{log.fileno()}"), b"image")
        log.write(b" after")
    assert (tmp_path / "log").read_bytes() == b"before image after"


def test_where_no_file_can_be_made_the_old_one_is_overwritten(open_folder: Path) -> None:
    file = open_folder / "file"
    write(file, b"a long old text")
    file.chmod(0o666)
    open_folder.chmod(0o555)
    with not_root():
        write(file, b"new")
        with pytest.raises(PermissionError, match="absent"):
            write(open_folder / "absent", b"new")
    assert file.read_bytes() == b"new"
    open_folder.chmod(0o777)
    file.chmod(0o444)
    with not_root(), pytest.raises(PermissionError, match="file"):
        write(file, b"newer")
    assert file.read_bytes() == b"new"


def test_what_must_be_new_replaces_nothing_not_even_a_link(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with replaced(file, must_be_new=True) as out:
        out.write(b"1")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError), replaced(tmp_path / name, must_be_new=True):
            pass
    assert file.read_bytes() == b"1"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_program_left_is_removed(tmp_path: Path) -> None:
    write(tmp_path / ".skipstream-0123abcd", b"half")
    write(tmp_path / "file", b"whole")
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert read_text(file) == "a = 1\n"
    assert load_toml(file) == {"a": 1}


def test_letters_stay_and_what_a_terminal_would_act_on_is_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert printable("caf\u00e9 \u732b a\u200db") == "caf\u00e9 \u732b a\u200db"
    assert printable("\x1b[2J\r\n\x7f") == r"\x1b[2J\r\n\x7f"
    assert printable("\u009b\u202e\u2066\u2028") == r"\x9b\u202e\u2066\u2028"
    assert printable("caf\udce9") == r"caf\udce9"
    say("one\x1b\ntwo\udce9")
    assert capsys.readouterr().out == "one\\x1b\ntwo\\udce9\n"
