"""Writes the tools' files, reads text and shows text from files."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Short: the name of a file may be as long as a name can be.
_PREFIX = ".skipstream-"
_MAX_LINKS = 40  # as the kernel has it
_NO_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS}  # for a temporary file
_STAYS = {errno.EACCES, errno.EPERM, errno.EBUSY}  # a mount point, or another's file


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file's name to errors of an open file, which have none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def replaced(path: Path, *, must_be_new: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` at the end; an error changes nothing.

    Symbolic links are followed. Mode and, where the system permits it, owner and group of a
    replaced file stay. Where no temporary file can be made or take its place (a folder that is not
    writable, a file mounted by itself), the old file is overwritten, as cp does. Devices, pipes and
    open descriptors (/dev/stdout) are written to as they are. `must_be_new`: FileExistsError if
    there is anything of that name.
    """
    if must_be_new and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    target, old = _followed(path)
    in_place = old is not None and not stat.S_ISREG(old.st_mode)
    if not in_place and old is not None and not os.access(target, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    temporary = target.with_name(_PREFIX + secrets.token_hex(4))
    descriptor = -1
    if not in_place:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o666 if old is None else 0o600)
        except OSError as error:
            if old is None or error.errno not in _NO_PLACE:
                raise OSError(error.errno, error.strerror, str(path)) from None
            in_place = True
    if in_place:
        with _named(path), _opened(target) as out:
            yield out
        return
    try:
        with _named(path), open(descriptor, "wb") as out:
            if old is not None:
                _keep_owner_and_mode(descriptor, old)
            yield out
            out.flush()
            os.fsync(descriptor)
        _publish(temporary, target, old is not None, must_be_new)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def write(path: Path, data: bytes) -> None:
    """Makes folders that are missing; else as `replaced`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as out:
        out.write(data)


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files of programs that were killed. Nobody else may write in `folder`."""
    for file in folder.glob(f"{_PREFIX}????????"):
        file.unlink()


def read_text(path: Path) -> str:
    """UTF-8, without the byte order mark that some editors write."""
    return path.read_text(encoding="utf-8-sig")


def load_toml(path: Path) -> dict[str, Any]:
    """Does the same as tomllib.load, with text as `read_text` reads it."""
    return tomllib.loads(read_text(path))


def printable(text: str) -> str:
    """For people: what a terminal would act on, or what would hide other text, is escaped."""
    return "".join(c if c == " " or _is_shown(c) else _escaped(c) for c in text)


def say(text: str, *, errors: bool = False) -> None:
    """Prints text of several lines, each as `printable`."""
    lines = "\n".join(printable(line) for line in text.split("\n"))
    print(lines, file=sys.stderr if errors else sys.stdout)


def _is_shown(character: str) -> bool:
    # Cc: controls; Cs: bytes that are no text; Zl, Zp: line ends. Cf: directions and joiners, of
    # which letters need the joiners.
    kind = unicodedata.category(character)
    return kind not in {"Cc", "Cs", "Zl", "Zp"} and (kind != "Cf" or character in "\u200c\u200d")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _followed(path: Path) -> tuple[Path, os.stat_result | None]:
    """The file that `path` leads to, and its state; none if there is nothing yet."""
    for _ in range(_MAX_LINKS):
        try:
            state = path.lstat()
        except FileNotFoundError:
            return path, None
        if not stat.S_ISLNK(state.st_mode):
            return path, state
        if _is_descriptor(path):
            return path, state
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _is_descriptor(link: Path) -> bool:
    """A link of /proc leads to an open file, which need not have a name."""
    return link.parent.resolve().is_relative_to("/proc")


def _opened(target: Path) -> BinaryIO:
    """Opened anew, an open descriptor would start at the beginning of its file again."""
    own = target.parent.resolve() == Path("/proc/self/fd").resolve()
    if own and target.name.isdecimal():
        return open(os.dup(int(target.name)), "wb")
    return target.open("wb")


def _keep_owner_and_mode(descriptor: int, old: os.stat_result) -> None:
    """Where it is not permitted to give a file away, the mode grants nobody more than before."""
    mode = stat.S_IMODE(old.st_mode)
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
        try:
            os.fchown(descriptor, -1, old.st_gid)
        except OSError:
            mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    with contextlib.suppress(OSError):  # file systems without modes have nothing to keep
        os.fchmod(descriptor, mode)


def _publish(temporary: Path, target: Path, exists: bool, must_be_new: bool) -> None:
    if must_be_new:
        try:
            os.link(temporary, target)  # unlike rename, fails if there is something of that name
            return
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links: the check is not atomic there.
            if os.path.lexists(target):
                raise FileExistsError(
                    errno.EEXIST, os.strerror(errno.EEXIST), str(target)
                ) from None
    try:
        temporary.replace(target)
    except OSError as error:
        if not exists or error.errno not in _STAYS:
            raise
        with temporary.open("rb") as source, target.open("wb") as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)
