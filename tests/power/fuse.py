"""A file system in memory that notes every change in order: FUSE, spoken over /dev/fuse by hand.

https://www.kernel.org/doc/html/latest/filesystems/fuse.html; structures as in <linux/fuse.h>.  Whoever writes waits for
the answer to each write, so the order is that in which the programs wrote.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import stat
import struct
import time
from collections.abc import Callable

from tests.power.tree import ROOT, Attributes, Link, Node, Rename, Resize, Sync, Tree, Unlink, Write

LARGEST = 1 << 17
_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_ENTRY, _ATTR_OUT, _OPEN = struct.Struct("<QQQQII"), struct.Struct("<QII"), struct.Struct("<QIi")
_INIT = struct.Struct("<IIIIHHIIHHII24x")
_SETATTR = struct.Struct("<IIQQQQQQIIIIIIII")
_WRITE = struct.Struct("<QQIIQII")
_FOREVER = 3600
_MODE, _OWNER, _GROUP, _SIZE, _MTIME, _MTIME_NOW = 1, 2, 4, 8, 32, 256
_NO_REPLY = (2, 36, 42)
"""FORGET, INTERRUPT, BATCH_FORGET."""


def mount(place: str) -> int:
    """Mount it there, for who is in this mount namespace; the descriptor by which it is served."""
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = (
        f"fd={descriptor},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other,default_permissions"
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"power", place.encode(), b"fuse", 2 | 4, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)
    return descriptor


class Server:
    """Answers what the kernel asks until it is unmounted."""

    def __init__(self, descriptor: int, tree: Tree) -> None:
        self._descriptor, self.tree = descriptor, tree
        self._answers: dict[int, Callable[[int, bytes, tuple[int, int]], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 5: self._readlink, 6: self._symlink, 8: self._mknod,
            9: self._mkdir, 10: self._unlink, 11: self._rmdir, 12: self._rename, 13: self._link, 14: self._open,
            15: self._read, 16: self._write, 17: self._statfs, 18: self._nothing, 20: self._fsync, 25: self._nothing,
            26: self._init, 27: self._open, 28: self._readdir, 29: self._nothing, 30: self._fsync, 35: self._create,
            45: self._rename2, 50: self._syncfs,
        }  # fmt: skip

    def serve(self) -> None:
        """Serve to the end."""
        while True:
            try:
                request = os.read(self._descriptor, LARGEST + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted
            _, code, unique, node, uid, gid, *_ = _IN.unpack_from(request)
            if code in _NO_REPLY:
                continue
            failed, answer = 0, b""
            try:
                answer = self._answers[code](node, request[_IN.size :], (uid, gid))
            except KeyError:
                failed = errno.ENOSYS
            except OSError as error:
                failed = error.errno or errno.EIO
            with contextlib.suppress(OSError):  # who asked has given up
                os.write(self._descriptor, _OUT.pack(_OUT.size + len(answer), -failed, unique) + answer)

    # what is asked

    def _init(self, _node: int, body: bytes, _who: tuple[int, int]) -> bytes:
        readahead = struct.unpack_from("<I", body, 8)[0]
        big_writes, max_pages = 1 << 5, 1 << 22
        flags = big_writes | max_pages
        return _INIT.pack(7, 31, readahead, flags, 16, 12, LARGEST, 1, LARGEST // 4096, 0, 0, 0)

    def _lookup(self, node: int, body: bytes, _who: tuple[int, int]) -> bytes:
        return self._entry(self._child(node, _name(body)))

    def _getattr(self, node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        return _ATTR_OUT.pack(_FOREVER, 0, 0) + _attributes(self.tree.nodes[node])

    def _setattr(self, number: int, body: bytes, _who: tuple[int, int]) -> bytes:
        valid, _, _, size, _, _, mtime, _, _, mtime_ns, _, mode, _, owner, group, _ = _SETATTR.unpack_from(body)
        node, now = self.tree.nodes[number], time.time_ns()
        if valid & _SIZE:
            self.tree.do(Resize(number, size, now))
        if valid & (_MODE | _OWNER | _GROUP | _MTIME | _MTIME_NOW):
            modified = now if valid & _MTIME_NOW else mtime * 10**9 + mtime_ns if valid & _MTIME else node.modified
            self.tree.do(
                Attributes(
                    number, stat.S_IFMT(node.mode) | stat.S_IMODE(mode) if valid & _MODE else node.mode,
                    owner if valid & _OWNER else node.owner, group if valid & _GROUP else node.group, modified,
                )
            )  # fmt: skip
        return self._getattr(number, b"", (0, 0))

    def _readlink(self, node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        return self.tree.nodes[node].target.encode()

    def _symlink(self, parent: int, body: bytes, who: tuple[int, int]) -> bytes:
        name, target = body.split(b"\0")[:2]
        return self._entry(self._made(parent, os.fsdecode(name), stat.S_IFLNK | 0o777, who, os.fsdecode(target)))

    def _mknod(self, parent: int, body: bytes, who: tuple[int, int]) -> bytes:
        mode = struct.unpack_from("<I", body)[0]
        return self._entry(self._made(parent, _name(body[16:]), mode, who))

    def _mkdir(self, parent: int, body: bytes, who: tuple[int, int]) -> bytes:
        mode = struct.unpack_from("<I", body)[0]
        return self._entry(self._made(parent, _name(body[8:]), stat.S_IFDIR | stat.S_IMODE(mode), who))

    def _create(self, parent: int, body: bytes, who: tuple[int, int]) -> bytes:
        mode = struct.unpack_from("<4xI", body)[0]
        entry = self._entry(self._made(parent, _name(body[16:]), stat.S_IFREG | stat.S_IMODE(mode), who))
        return entry + _OPEN.pack(0, 0, 0)

    def _unlink(self, parent: int, body: bytes, _who: tuple[int, int]) -> bytes:
        node = self._child(parent, _name(body))
        self.tree.do(Unlink(parent, _name(body), node.number, time.time_ns()))
        return b""

    def _rmdir(self, parent: int, body: bytes, who: tuple[int, int]) -> bytes:
        if self._child(parent, _name(body)).names:
            raise OSError(errno.ENOTEMPTY, "")
        return self._unlink(parent, body, who)

    def _rename(self, parent: int, body: bytes, _who: tuple[int, int], skip: int = 8, flags: int = 0) -> bytes:
        new_parent = struct.unpack_from("<Q", body)[0]
        name, new_name = map(os.fsdecode, body[skip:].split(b"\0")[:2])
        node = self._child(parent, name)
        there = self.tree.nodes[new_parent].names.get(new_name)
        if flags & 1 and there is not None:  # RENAME_NOREPLACE
            raise OSError(errno.EEXIST, "")
        if flags & ~1:
            raise OSError(errno.EINVAL, "")
        if there is not None and self.tree.nodes[there].names:
            raise OSError(errno.ENOTEMPTY, "")
        self.tree.do(Rename(parent, name, new_parent, new_name, node.number, time.time_ns()))
        return b""

    def _rename2(self, parent: int, body: bytes, who: tuple[int, int]) -> bytes:
        return self._rename(parent, body, who, 16, struct.unpack_from("<I", body, 8)[0])

    def _link(self, parent: int, body: bytes, _who: tuple[int, int]) -> bytes:
        node = self.tree.nodes[struct.unpack_from("<Q", body)[0]]
        self.tree.do(Link(parent, _name(body[8:]), node.number, time.time_ns()))
        return self._entry(node)

    def _open(self, _node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        return _OPEN.pack(0, 0, 0)

    def _read(self, node: int, body: bytes, _who: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(self.tree.nodes[node].data[offset : offset + size])

    def _write(self, node: int, body: bytes, _who: tuple[int, int]) -> bytes:
        _, offset, size, *_ = _WRITE.unpack_from(body)
        self.tree.do(Write(node, offset, body[_WRITE.size : _WRITE.size + size], time.time_ns()))
        return struct.pack("<II", size, 0)

    def _statfs(self, _node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        much = 1 << 24
        return struct.pack("<QQQQQIIII24x", much, much, much, much, much, 4096, 255, 4096, 0)

    def _fsync(self, node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        self.tree.do(Sync(node))
        return b""

    def _syncfs(self, _node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        for number in self.tree.nodes:
            self.tree.do(Sync(number))
        return b""

    def _nothing(self, _node: int, _body: bytes, _who: tuple[int, int]) -> bytes:
        return b""

    def _readdir(self, number: int, body: bytes, _who: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        found = b""
        names = [(".", number), ("..", ROOT), *self.tree.nodes[number].names.items()]
        for place, (name, node) in enumerate(names[offset:], offset + 1):
            raw = os.fsencode(name)
            entry = struct.pack("<QQII", node, place, len(raw), stat.S_IFMT(self.tree.nodes[node].mode) >> 12) + raw
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    # how it is answered

    def _child(self, parent: int, name: str) -> Node:
        number = self.tree.nodes[parent].names.get(name)
        if number is None:
            raise OSError(errno.ENOENT, "")
        return self.tree.nodes[number]

    def _made(self, parent: int, name: str, mode: int, who: tuple[int, int], target: str = "") -> Node:
        if name in self.tree.nodes[parent].names:
            raise OSError(errno.EEXIST, "")
        node = self.tree.make(mode, *who, target)
        self.tree.do(Link(parent, name, node.number, time.time_ns()))
        return node

    def _entry(self, node: Node) -> bytes:
        return _ENTRY.pack(node.number, 0, _FOREVER, _FOREVER, 0, 0) + _attributes(node)


def _name(body: bytes) -> str:
    return os.fsdecode(body[: body.index(b"\0")])


def _attributes(node: Node) -> bytes:
    size = len(node.data) or len(node.target)
    seconds, rest = divmod(node.modified, 10**9)
    links = max(1, node.links) + node.is_directory
    return _ATTR.pack(
        node.number, size, (size + 511) // 512, seconds, seconds, seconds, rest, rest, rest, node.mode, links,
        node.owner, node.group, 0, 4096, 0,
    )  # fmt: skip


def serve(place: str, deliver: Callable[[Tree], None]) -> int:
    """Mount it, and serve it in a process of its own, which hands over the tree on SIGTERM; its pid."""
    descriptor = mount(place)
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        tree = Tree()

        def told(*_: object) -> None:
            deliver(tree)
            os._exit(0)

        signal.signal(signal.SIGTERM, told)
        Server(descriptor, tree).serve()
    finally:
        os._exit(1)
