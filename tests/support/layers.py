"""Several job directories of a test, below one root, with their Watch."""

from __future__ import annotations

from pathlib import Path

from jobqueued.jobdir.acceptance import Content
from jobqueued.jobfile.reader import read_parts_in_steps
from jobqueued.jobfile.tree.drop_ins import parts_of
from jobqueued.jobfile.tree.yamltext import Steps
from tests.support.directory import Directory

PLACES = ("etc", "run", "usr/local/lib", "usr/lib")


class Layered(Directory):
    """Four directories, of which only the first is there at first; paths are given below `root`, without jobqueue.d."""

    def __init__(self, root: Path, kept: dict[str, bytes] | None = None) -> None:
        self.root = root
        (root / "etc/jobqueue.d").mkdir(parents=True, exist_ok=True)
        super().__init__(root / "etc/jobqueue.d", kept, [root / place / "jobqueue.d" for place in PLACES[1:]])

    def _read(self, data: bytes, file: str) -> Steps[Content]:
        self.read.append(Path(file).name)
        return read_parts_in_steps(parts_of(data, file), file)

    def file(self, name: str) -> Path:
        """The path of ``etc/a.yaml``; its directory is made."""
        place = next(place for place in PLACES if name.startswith(f"{place}/"))
        path = self.root / place / "jobqueue.d" / name.removeprefix(f"{place}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.file(name)
        path.write_text(text)
        return path

    def where(self, path: str) -> str:
        """The name of a path, as `file` takes it."""
        return path.removeprefix(f"{self.root}/").replace("/jobqueue.d", "", 1)

    def jobs(self, name: str) -> dict[str, str]:
        """The commands in force of a file, by job."""
        found = self.watch.last_good(str(self.path / name))
        return {job.id: str(job.command) for job in found}

    def told(self) -> list[str]:
        """All that is wrong now, each with its file and line."""
        found = [problem for of_file in self.watch.problems.values() for problem in of_file]
        return [f"{self.where(it.file)}:{it.line}: {it.key}: {it.message}".replace(str(self.root), "") for it in found]

    def news(self) -> list[str]:
        """The same of what the last scan said, warnings too."""
        return [f"{self.where(it.file)}:{it.line}: {it.key}: {it.message}" for it in self.said]
