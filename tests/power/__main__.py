"""The power goes off at every write of a short life of a host, and each image of its disk is started: `make power`.

As root.  A short life is lived on a file system that notes each write (life.py, fuse.py); then, for each moment and for
each kind of what a disk may have forgotten (states.py), an image is made and started, and looked at (checker.py).

    python -m tests.power                         every moment, each kind once: minutes
    python -m tests.power --images 40 --seed 7    some of them
    python -m tests.power --image 812:bare:7      one of them again, with the log of its start; of the same --life
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.power.blocks import SIZES
from tests.power.checker import Check, Image
from tests.power.life import Life, Lived, Place
from tests.power.states import BY_BLOCKS, KINDS
from tests.power.tree import Act, Write
from tests.support import preloaded


def main() -> int:
    """Do it; 0 if no promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, help="so many, chosen by the seed [all]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--life", type=Path, help="live the one that was kept in this file, or keep it there")
    parser.add_argument("--on", choices=SIZES, help="a file system of this kind [files of whatever kind]")
    parser.add_argument("--image", help="only this one: LENGTH:KIND:SEED")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)) * 2)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="power-", dir="/dev/shm") as directory:
        life = options.life or Path(directory, "life")
        if not life.exists():
            _apart(lambda: _live(Path(directory), life, options.on))
        lived = pickle.loads(life.read_bytes())
        images = [_parsed(options.image)] if options.image else _chosen(lived, options.images, options.seed)
        results = Path(directory, "results")
        results.mkdir()
        workers = (
            min(options.workers, len(images)) if lived.kind != "btrfs" else 1
        )  # it takes images of one for one disk
        pids = [
            _forked(lambda n=n: _work(Path(directory), lived, images[n::workers], results / str(n), options.image))
            for n in range(workers)
        ]
        failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
        found = [line for path in results.iterdir() for line in pickle.loads(path.read_bytes())]
    shutil.rmtree(lived.root.parent, ignore_errors=True)  # of a life that was kept
    return _report(lived.acts, found, failed, time.monotonic() - began)


def _parsed(text: str) -> Image:
    length, kind, seed = text.split(":")
    return Image(int(length), kind, int(seed))


def _chosen(lived: Lived, count: int | None, seed: int) -> list[Image]:
    acts, kinds = lived.acts, BY_BLOCKS if lived.kind else KINDS
    begin = next(n for n, act in enumerate(acts, 1) if isinstance(act, Write) and act.data.startswith(b"told laid-out"))
    every = [Image(length, kind, seed) for length in range(begin, len(acts) + 1) for kind in kinds]
    if count is None or count >= len(every):
        return every
    last = every[-len(kinds) :]  # which know of all
    return sorted({*last, *Random(seed).sample(every, max(0, count - len(last)))})


def _live(directory: Path, file: Path, kind: str | None) -> None:
    place = Place(directory / "rig")
    life = Life(place, kind)
    life.live()
    file.write_bytes(pickle.dumps(Lived(life.acts, place.directory, kind)))


def _work(directory: Path, lived: Lived, images: list[Image], results: Path, verbose: str | None) -> None:
    preloaded.preloaded.cache_clear()
    place, found = Place(lived.root), []
    for number, image in enumerate(images):
        check = Check(place, lived, image)
        disk = directory / f"disk.{os.getpid()}.{number}"
        check.carry_out(disk)
        found.append((str(image), check.wrong, check.said))
        if verbose:
            print(check.log)
        os.system(f"rm -rf {disk}")
    results.write_bytes(pickle.dumps(found))


def _forked(what: object) -> int:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            what()  # type: ignore[operator]
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    return pid


def _apart(what: object) -> None:
    if os.waitpid(_forked(what), 0)[1]:
        sys.exit("the life could not be lived")


def _report(acts: list[Act], found: list[tuple[str, list[str], list[str]]], failed: int, took: float) -> int:
    wrong = [(image, text) for image, texts, _ in found for text in texts]
    said = Counter(text.partition(";")[0][:150] for _, _, texts in found for text in texts)
    for image, text in sorted(wrong):
        print(f"{image}: {text}")
    for text, count in said.most_common(40):
        print(f"said {count} times: {text}")
    images = len({image for image, _ in wrong})
    print(f"{len(acts)} acts, {len(found)} images in {took:.0f} s; {images} with a promise that was broken")
    return bool(wrong or failed)


if __name__ == "__main__":
    sys.exit(main())
