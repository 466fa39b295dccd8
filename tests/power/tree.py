"""A tree of files in memory, and the log of all that was done to it, in order."""

from __future__ import annotations

import stat
import time
from dataclasses import dataclass, field
from typing import NamedTuple

ROOT = 1


class Link(NamedTuple):
    """A directory got a name for an inode; `mode`, `owner` and `group` are the inode's at that time."""

    parent: int
    name: str
    node: int
    at: int


class Unlink(NamedTuple):
    """A name went."""

    parent: int
    name: str
    node: int
    at: int


class Rename(NamedTuple):
    """An inode changed its name, in one step."""

    parent: int
    name: str
    new_parent: int
    new_name: str
    node: int
    at: int


class Made(NamedTuple):
    """An inode began; it is nowhere yet."""

    node: int
    mode: int
    owner: int
    group: int
    target: str


class Attributes(NamedTuple):
    """Mode, owner, group or time of modification were set."""

    node: int
    mode: int
    owner: int
    group: int
    modified: int


class Write(NamedTuple):
    """Bytes were written."""

    node: int
    offset: int
    data: bytes
    at: int


class Resize(NamedTuple):
    """A file was cut, or made longer with zeros."""

    node: int
    size: int
    at: int


class Sync(NamedTuple):
    """All that was done to an inode, and of a directory to its names, is durable: fsync(2), fdatasync(2)."""

    node: int


Act = Link | Unlink | Rename | Made | Attributes | Write | Resize | Sync


@dataclass
class Node:
    """An inode; `names` of a directory, `data` of a file, `target` of a link."""

    number: int
    mode: int
    owner: int
    group: int
    modified: int
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, int] = field(default_factory=dict)
    target: str = ""
    links: int = 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Tree:
    """The files; `acts` is the log."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.acts: list[Act] = []
        self.make(stat.S_IFDIR | 0o755, 0, 0)

    def do(self, act: Act) -> None:
        """Do it, and note it."""
        self.acts.append(act)
        self.apply(act)

    def make(self, mode: int, owner: int, group: int, target: str = "") -> Node:
        """A new inode."""
        self.do(Made(len(self.nodes) + 1, mode, owner, group, target))
        return self.nodes[len(self.nodes)]

    def apply(self, act: Act) -> None:
        """Do it to whatever is there: a name that is gone already is no error."""
        nodes = self.nodes
        match act:
            case Made(number, mode, owner, group, target):
                nodes[number] = Node(number, mode, owner, group, time.time_ns(), target=target)
            case Link(parent, name, node, at):
                nodes[parent].names[name] = node
                nodes[parent].modified = at
                nodes[node].links += 1
            case Unlink(parent, name, node, at):
                if nodes[parent].names.get(name) == node:
                    del nodes[parent].names[name]
                    nodes[parent].modified = at
                    nodes[node].links -= 1
            case Rename(parent, name, new_parent, new_name, node, at):
                replaced = nodes[new_parent].names.get(new_name)
                if replaced is not None and replaced != node:
                    nodes[replaced].links -= 1
                if nodes[parent].names.get(name) == node:
                    del nodes[parent].names[name]
                nodes[new_parent].names[new_name] = node
                nodes[parent].modified = nodes[new_parent].modified = at
            case Attributes(node, mode, owner, group, modified):
                found = nodes[node]
                found.mode, found.owner, found.group, found.modified = mode, owner, group, modified
            case Write(node, offset, data, at):
                self._write(nodes[node], offset, data, at)
            case Resize(node, size, at):
                held = nodes[node].data
                del held[size:]
                held.extend(bytes(size - len(held)))
                nodes[node].modified = at

    @staticmethod
    def _write(node: Node, offset: int, data: bytes, at: int) -> None:
        held = node.data
        if offset > len(held):
            held.extend(bytes(offset - len(held)))
        held[offset : offset + len(data)] = data
        node.modified = at
