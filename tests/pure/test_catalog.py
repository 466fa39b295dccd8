"""catalog: the jobs by id, and which file may have which id."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.problem import Problem
from jobqueued.model.catalog import Catalog, CatalogChange
from jobqueued.model.job import Job, On
from jobqueued.timing.schedule import Schedule


def job(name: str, file: str = "f", line: int = 1, command: str = "x") -> Job:
    return Job(id=name, command=command, file=file, line=line)


def test_jobs_are_added_and_removed() -> None:
    """What was added is there under its id until it is removed."""
    catalog = Catalog([job("a")])
    catalog.add(job("b"))
    assert (2, ["a", "b"], True, job("b")) == (len(catalog), [j.id for j in catalog], "a" in catalog, catalog.get("b"))
    assert job("a") == catalog.remove("a")
    assert (1, False, None) == (len(catalog), "a" in catalog, catalog.get("a"))


def test_an_id_is_added_once() -> None:
    """A second job of an id is refused and changes nothing."""
    catalog = Catalog([job("a")])
    with pytest.raises(ValueError, match="there is a job 'a' already"):
        catalog.add(job("a", command="y"))
    assert job("a") == catalog["a"]


def test_an_unknown_id_cannot_be_removed() -> None:
    """Removing what is not there raises."""
    with pytest.raises(KeyError):
        Catalog().remove("a")


def test_a_file_is_replaced_as_a_whole() -> None:
    """The jobs of a file are those of its newest content; those of other files stay."""
    catalog = Catalog([job("a"), job("b"), job("c"), job("other", "g")])
    change = catalog.replace_file("f", [job("a"), job("b", command="y"), job("d")])
    assert CatalogChange((job("d"),), (job("b", command="y"),), (job("c"),)) == change
    assert ["a", "b", "d", "other"] == sorted(j.id for j in catalog)
    assert CatalogChange(removed=(job("a"), job("b", command="y"), job("d"))) == catalog.replace_file("f", [])


def test_a_job_that_only_moved_has_not_changed() -> None:
    """Another line, another file, and newly compiled triggers are no edit, and the old file lets go of the job."""
    old = replace(job("a"), schedule=("0 2 * * *",), triggers=(Schedule("0 2 * * *", "UTC", "a", "cron"),))
    moved = replace(old, file="g", line=7, triggers=(Schedule("0 2 * * *", "UTC", "a", "cron"),))
    catalog = Catalog([old])
    assert CatalogChange() == catalog.replace_file("g", [moved])
    assert CatalogChange() == catalog.replace_file("f", [])
    assert moved == catalog["a"]


def test_an_id_stays_with_the_file_that_has_it() -> None:
    """A file is in conflict over each id of another file, and the Problem names the place that has it."""
    catalog = Catalog([job("a", "f", 3), job("b", "f", 5)])
    message = "found the id 'b'; expected an id that no other file uses (f:5 has it)"
    assert [Problem("g", 9, 0, "", message, code="JQ213")] == catalog.conflicts(
        "g", (job("b", "g", 9), job("c", "g", 10))
    )
    assert [] == catalog.conflicts("f", (job("a", "f"), job("c", "f")))


def test_a_new_id_goes_to_the_first_name() -> None:
    """Of several new files with the same id the first in byte order gets it."""
    files = {name: (job("a", name),) for name in ("b", "a", "Z")}
    assert {"a", "b"} == Catalog().conflicts_among(files).keys()


def test_the_holder_goes_before_the_first_name() -> None:
    """A file keeps its id although another that is read at the same time has an earlier name."""
    assert {"a"} == Catalog([job("x", "b")]).conflicts_among({"a": (job("x", "a"),), "b": (job("x", "b"),)}).keys()


def test_files_may_swap_ids() -> None:
    """Ids that change hands at the same time are in nobody's way."""
    catalog = Catalog([job("x", "a"), job("y", "b")])
    assert {} == catalog.conflicts_among({"a": (job("y", "a"),), "b": (job("x", "b"),)})


def test_a_refused_file_frees_nothing() -> None:
    """What a file would give up stays its own if the file is refused."""
    catalog = Catalog([job("x", "a"), job("y", "b"), job("z", "c")])
    files = {"a": (job("y", "a"),), "b": (job("z", "b"),)}
    assert {"a", "b"} == catalog.conflicts_among(files).keys()


def test_many_files_with_one_id_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever's id is surely another's is not compared with all others again."""
    compared = []
    conflicts = Catalog._conflicts

    def counted(catalog: Catalog, files: Any, vanished: Any) -> Any:
        compared.append(len(files))
        return conflicts(catalog, files, vanished)

    monkeypatch.setattr(Catalog, "_conflicts", counted)
    files = {f"{number:03}": (job("x", f"{number:03}"), job(f"j{number}", f"{number:03}")) for number in range(200)}
    assert sorted(files)[1:] == sorted(Catalog().conflicts_among(files))
    assert sum(compared) <= 2 * len(files)


def test_a_vanished_file_holds_nothing() -> None:
    """The ids of a vanished file are free."""
    catalog = Catalog([job("x", "a")])
    assert {} == catalog.conflicts_among({"b": (job("x", "b"),)}, vanished={"a"})


FILES = st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from("uvwxyz"), max_size=4), max_size=4)


@given(st.lists(FILES, max_size=8))
def test_no_id_is_ever_in_two_files(rounds: list[dict[str, set[str]]]) -> None:
    """Whatever is written in whatever order: accepted files hold exactly their ids, refused ones what they had."""
    catalog, held = Catalog(), dict[str, set[str]]()
    for files in rounds:
        read = {file: tuple(job(name, file) for name in sorted(ids)) for file, ids in files.items()}
        refused = catalog.conflicts_among(read)
        for file in read.keys() - refused.keys():
            held[file] = files[file]
            catalog.replace_file(file, read[file])
        for file, ids in held.items():
            assert ids == {j.id for j in catalog if j.file == file}
        assert len(catalog) == sum(len(ids) for ids in held.values())


def test_patterns_hear_while_somebody_does() -> None:
    """A pattern is there as long as a job has it, and * and ? are all that is special in it."""
    db, both, other = (On("jobs", name) for name in ("db-?.x", "*", "a*"))
    catalog = Catalog([replace(job("a"), on=(both, db)), replace(job("b"), on=(both,))])
    assert [["*", "db-?.x"], ["*"], ["*"]] == [catalog.patterns(name) for name in ("db-1.x", "db-1-x", "db-12.x")]
    catalog.replace_file("f", [replace(job("a"), on=(other,))])
    assert ["a*"] == catalog.patterns("a")
    catalog.remove("a")
    assert [] == catalog.patterns("a")


def test_nobody_hears_of_another_users_runs_by_a_pattern() -> None:
    """The host's patterns mean the host's jobs, a user's those of that user."""
    heard = {"host": "*", "alice/a": "alice/*", "bob/b": "bob/*"}
    catalog = Catalog(Job(id=name, command="x", on=(On("jobs", pattern),)) for name, pattern in heard.items())
    found = {name: catalog.patterns(name) for name in ("x", "cron.d/x:y", "alice/x", "bob/x", "carol/x")}
    assert {"x": ["*"], "cron.d/x:y": ["*"], "alice/x": ["alice/*"], "bob/x": ["bob/*"], "carol/x": []} == found
