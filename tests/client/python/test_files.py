"""`save` and existing files."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_server import image
from skipstream import GeneratedImage
from skipstream.events import event_from_proto


@pytest.fixture
def made() -> GeneratedImage:
    event = event_from_proto(image(0))
    return event.image  # type: ignore[union-attr]


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".skipstream")]


def test_a_new_file_has_the_usual_mode(made: GeneratedImage, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    made.save(str(tmp_path / "new.png"))
    assert (tmp_path / "new.png").read_bytes() == made.data
    assert (tmp_path / "new.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(
    made: GeneratedImage, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    path.chmod(mode)
    before = path.stat()
    made.save(path)
    assert path.read_bytes() == made.data
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.stat().st_ino != before.st_ino, "not in place: readers see the old or the new"
    assert leftovers(tmp_path) == []


def test_links_are_followed(made: GeneratedImage, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.png").write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/x.png")
    (tmp_path / "dangling").symlink_to("folder/new.png")
    for link, target in (("link", "x.png"), ("dangling", "new.png")):
        made.save(tmp_path / link)
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / "folder" / target).read_bytes() == made.data


def test_a_pipe_is_written_into(made: GeneratedImage, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    made.save(path)
    reader.join()
    assert got == [made.data]
    assert path.is_fifo()


def test_standard_output_goes_on_where_it_was(made: GeneratedImage, tmp_path: Path) -> None:
    """/dev/stdout is a link to a link of /proc; here standard output is a file."""
    code = "import os, sys; from skipstream._files import write_file; os.write(1, b'a'); "
    code += "write_file(sys.argv[1], b'b'); os.write(1, b'c')"
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    out = tmp_path / "out"
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", code, str(link)], stdout=file, check=True)
    assert out.read_bytes() == b"abc"
    assert link.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_written_into(made: GeneratedImage, tmp_path: Path) -> None:
    null, full = tmp_path / "null", tmp_path / "full"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        null.open("wb").close()
    except PermissionError:
        pytest.skip("no devices here")
    made.save(null)
    assert null.is_char_device()
    with pytest.raises(OSError, match="No space left"):
        made.save(full)
    assert full.is_char_device()


@pytest.mark.parametrize("length", [245, 250, 255])
def test_a_name_may_be_as_long_as_names_are(
    made: GeneratedImage, tmp_path: Path, length: int
) -> None:
    path = tmp_path / ("a" * (length - 4) + ".png")
    made.save(path)
    assert path.read_bytes() == made.data


def test_what_cannot_be_written_raises_and_leaves_what_was_there(
    made: GeneratedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        made.save(tmp_path / "none" / "x.png")
    with pytest.raises(IsADirectoryError):
        made.save(tmp_path)
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        made.save(path)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []
