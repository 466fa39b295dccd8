"""System calls of the simulated host, as the module os of its programs.

What is not here is the real module's, as it only computes (os.path, os.fspath, constants).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.simulation.entries import RUSAGE, Entries, Entry, FakePath, File, PidFile, fails
from tests.simulation.files import Files, Inode
from tests.simulation.kernel import Kernel, Killed, Open, Process
from tests.simulation.sockets import Pipe, Timer

_FREE = 1 << 40


class System:
    """The calls.  `check_room` is where a disk that is full, read-only or broken says so."""

    def __init__(self, kernel: Kernel, files: Files) -> None:
        self.kernel, self.files = kernel, files
        self.fake: FakeOs
        self.sockets: Any = None
        self.spawn_launcher: Callable[[Open], Process]

    # places

    def process(self) -> Process:
        """Whoever is calling."""
        process = self.kernel.current
        if process is None or process.dead:
            raise Killed
        return process

    def file(self, number: int) -> File:
        """An open file of the caller."""
        it = self.process().fds.get(number)
        if not isinstance(it, File):
            raise fails(errno.EBADF)
        return it

    def place(self, path: Any, dir_fd: int | None = None) -> tuple[Inode, str]:
        """The directory of a path, and the name in it."""
        base, rest = self._base(os.fspath(path), dir_fd)
        return self.files.above(base, rest)

    def inode(self, path: Any, dir_fd: int | None = None, *, follow: bool = True) -> Inode:
        """The inode of a path."""
        if isinstance(path, int):
            return self.file(path).inode
        base, rest = self._base(os.fspath(path), dir_fd)
        return self.files.at(base, rest, follow=follow)

    def _base(self, path: str, dir_fd: int | None) -> tuple[Inode, str]:
        if path.startswith("/proc/self/fd/"):
            number, _, rest = path.removeprefix("/proc/self/fd/").partition("/")
            return self.file(int(number)).inode, rest
        return self.files.root if dir_fd is None else self.file(dir_fd).inode, path

    def check_room(self, directory: Inode) -> None:
        """OSError where nothing can be written now, or the directory was removed."""
        if directory.kind == "d" and not directory.nlink:
            raise fails(errno.ENOENT)
        if directory.disk.trouble:
            raise fails(directory.disk.trouble)

    def put(self, directory: Inode, name: str, it: Inode | None, *more: tuple[Inode, str, Inode | None]) -> None:
        """Give a name, or take it away (None)."""
        now = self.kernel.wall
        for where, what, which in ((directory, name, it), *more):
            if which is None:
                where.entries.pop(what, None)
            else:
                where.entries[what] = which
            where.mtime = now
        directory.disk.changed(self.kernel.mono, (directory, name, it), *more)


class FakeOs:
    """The module os."""

    def __init__(self, system: System) -> None:
        self._system, self._kernel = system, system.kernel
        self.environ: dict[str, str] = {}
        self.path = FakePath(self)

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        if callable(value) and name not in _PURE and not isinstance(value, type):
            raise NotImplementedError(f"os.{name} is not simulated")
        setattr(self, name, value)
        return value

    # descriptors

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """As open(2)."""
        system = self._system
        self._kernel.enter("open")
        if path == "/dev/null":
            return self._kernel.open(File(system.files.root))
        directory, name = system.place(path, dir_fd) if os.fspath(path) != "/" else (system.files.root, "")
        it = directory.entries.get(name) if name else directory
        if it is None:
            if not flags & os.O_CREAT:
                raise fails(errno.ENOENT, os.fspath(path))
            system.check_room(directory)
            it = system.files.make("f", directory.disk, mode & 0o777, self._kernel.wall)
            system.put(directory, name, it)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise fails(errno.EEXIST, os.fspath(path))
        if it.kind == "l":
            raise fails(errno.ELOOP, os.fspath(path))
        if it.kind != "d" and flags & os.O_DIRECTORY:
            raise fails(errno.ENOTDIR, os.fspath(path))
        if it.kind == "s":
            raise fails(errno.ENXIO, os.fspath(path))
        if flags & (os.O_WRONLY | os.O_RDWR) and it.kind == "f":
            system.check_room(it)
            if flags & os.O_TRUNC and it.data:
                it.data = b""
                it.disk.wrote(self._kernel.mono, it)
        return self._kernel.open(File(it, os.fspath(path), appends=bool(flags & os.O_APPEND)))

    def close(self, number: int) -> None:
        """As close(2)."""
        self._kernel.enter("close")
        self._kernel.close(number)

    def read(self, number: int, size: int) -> bytes:
        """As read(2), which waits for nothing here."""
        it = self._system.process().fds.get(number)
        self._kernel.enter("fread" if isinstance(it, File) else "read")
        if isinstance(it, Pipe):
            if not it.data:
                if it.writers.holders:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                return b""
            data, it.data = it.data[:size], it.data[size:]
            return data
        if isinstance(it, Timer):
            it.rang()
            return b"\1" + bytes(7)
        file = self._system.file(number)
        data = file.inode.data[file.offset : file.offset + size]
        file.offset += len(data)
        return data

    def pread(self, number: int, size: int, offset: int) -> bytes:
        """As pread(2)."""
        self._kernel.enter("read")
        return self._system.file(number).inode.data[offset : offset + size]

    def write(self, number: int, data: Any) -> int:
        """As write(2)."""
        it = self._system.process().fds.get(number)
        self._kernel.enter("write" if isinstance(it, File) else "wake")
        data = bytes(data)
        if it is not None and hasattr(it, "put"):
            it.put(data)
            self._kernel.notify(getattr(it, "pipe", it))
            return len(data)
        file = self._system.file(number)
        self._system.check_room(file.inode)
        inode = file.inode
        offset = len(inode.data) if file.appends else file.offset
        inode.data = inode.data[:offset] + data + inode.data[offset + len(data) :]
        inode.mtime = self._kernel.wall
        inode.disk.wrote(self._kernel.mono, inode)
        file.offset = offset + len(data)
        return len(data)

    def fsync(self, number: int) -> None:
        """As fsync(2)."""
        self._kernel.enter("fsync")
        inode = self._system.file(number).inode
        if inode.disk.trouble == errno.EIO:
            raise fails(errno.EIO)
        inode.disk.sync(inode)

    def fstat(self, number: int) -> os.stat_result:
        """As fstat(2)."""
        self._kernel.enter("stat")
        return self._system.file(number).inode.status()

    def pipe2(self, _flags: int) -> tuple[int, int]:
        """As pipe2(2)."""
        self._kernel.enter("pipe")
        pipe = Pipe(self._kernel)
        return self._kernel.open(pipe), self._kernel.open(pipe.writers)

    def set_blocking(self, _number: int, _blocks: bool) -> None:
        """As fcntl(2)."""

    def lseek(self, number: int, offset: int, _how: int) -> int:
        """As lseek(2), from the beginning."""
        self._system.file(number).offset = offset
        return offset

    def memfd_create(self, _name: str, _flags: int = 0) -> int:
        """As memfd_create(2)."""
        self._kernel.enter("memfd")
        memory = self._system.files.memory
        return self._kernel.open(File(self._system.files.make("f", memory, 0o600, self._kernel.wall)))

    def fstatvfs(self, _number: int) -> SimpleNamespace:
        """As fstatvfs(2)."""
        return SimpleNamespace(f_bavail=_FREE, f_frsize=1, f_blocks=_FREE, f_flag=0, f_files=1, f_favail=1)

    statvfs = fstatvfs

    # names

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        """As stat(2)."""
        self._kernel.enter("stat")
        return self._system.inode(path, dir_fd, follow=follow_symlinks).status()

    def access(self, path: Any, _mode: int) -> bool:
        """As access(2), for root."""
        self.stat(path)
        return True

    def lstat(self, path: Any) -> os.stat_result:
        """As lstat(2)."""
        return self.stat(path, follow_symlinks=False)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """As mkdir(2)."""
        self._kernel.enter("mkdir")
        directory, name = self._system.place(path, dir_fd)
        if name in directory.entries:
            raise fails(errno.EEXIST, os.fspath(path))
        self._system.check_room(directory)
        self._system.put(directory, name, self._system.files.make("d", directory.disk, mode, self._kernel.wall))

    def makedirs(self, path: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        """As os.makedirs."""
        head = os.path.dirname(os.fspath(path))
        if head not in ("", "/") and not self.path.exists(head):
            self.makedirs(head, exist_ok=True)
        try:
            self.mkdir(path, mode)
        except FileExistsError:
            if not exist_ok:
                raise

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        """As rmdir(2)."""
        self._kernel.enter("rmdir")
        directory, name = self._system.place(path, dir_fd)
        it = directory.entries.get(name)
        if it is None:
            raise fails(errno.ENOENT, os.fspath(path))
        if it.entries:
            raise fails(errno.ENOTEMPTY, os.fspath(path))
        self._no_removal(directory)
        it.nlink = 0
        self._system.put(directory, name, None)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        """As unlink(2)."""
        self._kernel.enter("unlink")
        directory, name = self._system.place(path, dir_fd)
        it = directory.entries.get(name)
        if it is None:
            raise fails(errno.ENOENT, os.fspath(path))
        self._no_removal(directory)
        it.nlink = 0
        self._system.put(directory, name, None)

    def _no_removal(self, directory: Inode) -> None:
        if directory.disk.trouble in (errno.EROFS, errno.EIO):
            raise fails(directory.disk.trouble)

    def rename(self, old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        """As rename(2)."""
        self._kernel.enter("rename")
        directory, name = self._system.place(old, src_dir_fd)
        target, new_name = self._system.place(new, dst_dir_fd)
        it = directory.entries.get(name)
        if it is None:
            raise fails(errno.ENOENT, os.fspath(old))
        self._no_removal(directory)
        if not target.nlink:
            raise fails(errno.ENOENT, os.fspath(new))
        replaced = target.entries.get(new_name)
        if replaced is not None:
            replaced.nlink = 0
        self._system.put(directory, name, None, (target, new_name, it))

    replace = rename

    def symlink(self, _target: str, name: Any, *, dir_fd: int | None = None) -> None:
        """As symlink(2)."""
        self._kernel.enter("symlink")
        directory, last = self._system.place(name, dir_fd)
        if last in directory.entries:
            raise fails(errno.EEXIST, os.fspath(name))
        self._system.check_room(directory)
        self._system.put(directory, last, self._system.files.make("l", directory.disk, 0o777, self._kernel.wall))

    def listdir(self, path: Any) -> list[str]:
        """As os.listdir; of /proc the processes."""
        self._kernel.enter("list")
        if path == "/proc":
            return [str(pid) for pid in self._kernel.processes]
        it = self._system.inode(path)
        if it.kind != "d":
            raise fails(errno.ENOTDIR, str(path))
        return list(it.entries)

    def scandir(self, path: Any) -> Entries:
        """As os.scandir."""
        folder = os.fspath(path)
        self._kernel.enter("list")
        it = self._system.inode(folder)
        return Entries([Entry(name, f"{folder}/{name}", inode) for name, inode in it.entries.items()])

    def chmod(self, path: Any, mode: int) -> None:
        """As chmod(2)."""
        self._system.inode(path).mode = mode

    def fchmod(self, number: int, mode: int) -> None:
        """As fchmod(2)."""
        self._system.file(number).inode.mode = mode

    def chown(self, _path: Any, _user: int, _group: int) -> None:
        """As chown(2)."""

    # processes

    def posix_spawn(self, _program: str, _argv: object, _env: object, *, file_actions: list[Any], **_: object) -> int:
        """As posix_spawn(3), of a launcher."""
        process = self._kernel.enter("fork")
        return self._system.spawn_launcher(process.fds[file_actions[0][1]]).pid

    def umask(self, _mask: int) -> int:
        """As umask(2)."""
        return 0o022

    def urandom(self, size: int) -> bytes:
        """As getrandom(2)."""
        return self._kernel.random.randbytes(size)

    def getpid(self) -> int:
        """As getpid(2)."""
        return self._system.process().pid

    def getppid(self) -> int:
        """As getppid(2)."""
        return self._system.process().parent

    def geteuid(self) -> int:
        """Everybody is root."""
        return 0

    getuid = geteuid

    def kill(self, pid: int, number: int) -> None:
        """As kill(2)."""
        self._kernel.enter("kill")
        target = self._kernel.processes.get(pid)
        if target is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._kernel.kill(target, number)

    def waitpid(self, pid: int, _options: int) -> tuple[int, int]:
        """As waitpid(2), of a child that has ended."""
        self._kernel.enter("wait")
        child = self._kernel.reap(self._system.process(), pid)
        return pid, child.status

    def wait4(self, pid: int, options: int) -> tuple[int, int, Any]:
        """As wait4(2); all jobs use the same."""
        return *self.waitpid(pid, options), RUSAGE

    def pidfd_open(self, pid: int) -> int:
        """As pidfd_open(2)."""
        self._kernel.enter("pidfd")
        target = self._kernel.processes.get(pid)
        if target is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return self._kernel.open(PidFile(target, self._kernel))


_PURE = frozenset({
    "fspath", "strerror", "fsdecode", "fsencode", "waitstatus_to_exitcode", "WCOREDUMP", "WIFSIGNALED",
    "major", "minor", "sysconf", "WTERMSIG",
})  # fmt: skip
