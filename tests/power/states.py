"""What a disk may hold after the power went off: the states that POSIX, or a file system with a journal, allows.

Durable is what fsync(2) has made so.  Of the rest:

bare       POSIX and no more: each name, each size, each sector of 512 bytes may be as it was at any moment since
journal    as ext4, XFS and Btrfs have it: what was done to names and inodes is there up to some moment, and an fsync of
           whatever makes all of that durable that came before; sectors are as above
least      what is durable, and nothing else
all        all that was written

Of a sector the moments are those of its own writes; a sector is never torn, as disks promise.  What was written after a
file was cut is not there if the cut is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from tests.power.tree import Act, Attributes, Link, Made, Rename, Resize, Sync, Tree, Unlink, Write

KINDS = ("bare", "journal", "least", "all")
BY_BLOCKS = ("bare", "least", "all")
"""Those of a disk, which has no names."""
SECTOR = 512
_OF_NAMES = Link | Unlink | Rename


def state(acts: list[Act], kind: str, seed: int) -> Tree:
    """What may be there when the power goes off after these acts."""
    chance = Random(f"{kind} {len(acts)} {seed}")
    kept = Random(f"{kind} {len(acts)} {seed} kept").choice((0.1, 0.5, 0.9))
    is_kept: Callable[[], bool] = {
        "least": lambda: False, "all": lambda: True,
    }.get(kind, lambda: chance.random() < kept)  # fmt: skip
    durable = _Durable(acts, has_journal=kind == "journal")
    pending = [number for number, act in enumerate(acts) if _is_metadata(act) and not durable.has(number, act)]
    horizon = (pending[chance.randrange(len(pending) + 1) - 1] if pending else 0) if kind == "journal" else -1
    tree = Tree()
    written: dict[int, list[tuple[int, Write | Resize]]] = {}
    for number, act in enumerate(acts):
        if isinstance(act, Made):
            if act.node > 1:
                tree.apply(act)
        elif isinstance(act, Write | Resize):
            written.setdefault(act.node, []).append((number, act))
        elif not isinstance(act, Sync) and (
            durable.has(number, act) or (number <= horizon if kind == "journal" else is_kept())
        ):
            tree.apply(act)
    for node, those in written.items():
        _content(tree, those, durable.synced.get(node, -1), is_kept)
    return tree


def _is_metadata(act: Act) -> bool:
    return isinstance(act, _OF_NAMES | Attributes)


class _Durable:
    """Tells what is durable: `synced` has the last fsync of each inode."""

    def __init__(self, acts: Iterable[Act], *, has_journal: bool) -> None:
        self.synced: dict[int, int] = {}
        for number, act in enumerate(acts):
            if isinstance(act, Sync):
                self.synced[act.node] = number
        self._journal = max(self.synced.values(), default=-1) if has_journal else -1

    def has(self, number: int, act: Act) -> bool:
        """True if an act is."""
        match act:
            case Link(parent) | Unlink(parent):
                nodes = [parent]
            case Rename(parent, _, new_parent):
                nodes = [parent, new_parent]
            case Attributes(node):
                nodes = [node]
            case _:
                return False
        return number < max(self._journal, *(self.synced.get(node, -1) for node in nodes))


def _content(tree: Tree, acts: list[tuple[int, Write | Resize]], synced: int, is_kept: Callable[[], bool]) -> None:
    """Give a file the content of some moment in each of its sectors."""
    cut = next(
        (n for n, act in acts if n > synced and isinstance(act, Resize) and not is_kept()), 1 << 62
    )  # the first cut that is not there
    settled: set[int] = set()
    """Sectors whose moment is over: what was written to them later is not there."""
    size = 0
    for number, act in acts:
        if number >= cut:
            break
        if number < synced:
            tree.apply(act)
            size = len(tree.nodes[act.node].data)
        elif isinstance(act, Resize):
            tree.apply(act)
            size = act.size
            settled.clear()
        else:
            for piece in _sectors(act):
                sector = piece.offset // SECTOR
                if sector in settled:
                    continue
                if is_kept():
                    tree.apply(piece)
                else:
                    settled.add(sector)
            if is_kept():  # the new size is there, whatever of its content is
                size = max(size, act.offset + len(act.data))
    node = tree.nodes[acts[0][1].node]
    grown = len(node.data)
    if grown > size and is_kept():
        size = grown
    del node.data[size:]
    node.data.extend(bytes(size - len(node.data)))


def _sectors(act: Write) -> Iterable[Write]:
    end, begin = act.offset + len(act.data), act.offset
    while begin < end:
        until = min(end, (begin // SECTOR + 1) * SECTOR)
        yield Write(act.node, begin, act.data[begin - act.offset : until - act.offset], act.at)
        begin = until
