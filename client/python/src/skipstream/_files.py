"""Writing files by the rules of the command: see `write_file`."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import stat
from pathlib import Path


def write_file(path: str | Path, data: bytes) -> None:
    """Makes `path` hold `data`, or what it held before if that fails: then raises OSError.

    Links are followed. Only a regular file is replaced, by a new one with its mode and, where
    possible, its owner. Devices, pipes and the like are written into.
    """
    target = Path(path)
    descriptor = _descriptor_of(target)
    if descriptor is not None:
        # Opening it anew would start at the beginning of the file again.
        _write_and_close(os.dup(descriptor), data)
        return
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None  # also of a link that leads nowhere: the file is made where it leads
    if old is not None and not stat.S_ISREG(old.st_mode):
        _overwrite(target, data)
        return
    target = Path(os.path.realpath(target))
    if old is not None and not os.access(target, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    if old is not None and old.st_nlink > 1:  # its other names get the new contents, too
        _overwrite(target, data)
        return
    try:
        _replace(target, data, old)
    except OSError as error:
        # A mount point, another's file in a folder with the sticky bit, a folder of others.
        stays = error.errno in (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS)
        if old is None or not stays:
            raise
        _overwrite(target, data)


def _descriptor_of(path: Path) -> int | None:
    """The descriptor of this process that it leads to, as /dev/stdout does; None: it does not."""
    for _ in range(40):  # as the kernel has it
        if not path.is_symlink():
            return None
        if path.parent.resolve() == Path("/proc/self/fd").resolve() and path.name.isdecimal():
            return int(path.name)
        path = path.parent / path.readlink()
    return None


def _overwrite(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY
    _write_and_close(os.open(path, flags), data)


def _replace(path: Path, data: bytes, old: os.stat_result | None) -> None:
    # Short: the target's name may be as long as a name can be.
    temporary = path.parent / f".skipstream-{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666 if old is None else 0o600)
    try:
        if old is not None:
            _keep_owner_and_mode(descriptor, old)
        _write_and_close(descriptor, data)
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _keep_owner_and_mode(descriptor: int, old: os.stat_result) -> None:
    mode = stat.S_IMODE(old.st_mode)
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:  # not ours to give away: the mode grants nobody more than before
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
        try:
            os.fchown(descriptor, -1, old.st_gid)
        except OSError:
            mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    with contextlib.suppress(OSError):  # file systems without modes have nothing to keep
        os.fchmod(descriptor, mode)


def _write_and_close(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", buffering=0) as file:  # some file systems fail only at the end
        rest = memoryview(data)
        while rest:
            written = file.write(rest)
            if written is None:  # a pipe that does not block, and is full
                select.select([], [file], [])
            else:
                rest = rest[written:]
