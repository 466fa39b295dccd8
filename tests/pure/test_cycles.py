"""Cycles: found in linear time, described in few words; no file that closes a cycle is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from jobqueued.model import events
from jobqueued.model.catalog import Catalog
from jobqueued.model.cycles import cycles, format_way, way_back
from jobqueued.model.job import Job, On
from tests.support.world import World, job

MANY = 5000
NAMES = st.sampled_from("abcdef")
EDGES = st.dictionaries(NAMES, st.sets(NAMES, max_size=3))


def reached(name: str, edges: dict[str, set[str]]) -> set[str]:
    """All that a name leads to."""
    found, new = set[str](), edges.get(name, set())
    while new:
        found |= new
        new = {further for one in new for further in edges.get(one, ())} - found
    return found


@given(EDGES)
def test_groups_are_those_that_lead_to_one_another(edges: dict[str, set[str]]) -> None:
    """Whoever leads to itself is in the one group of those that it leads to, and that lead to it."""
    found = sorted(sorted(group) for group in cycles(edges, lambda name: edges.get(name, ())))
    leads = {name: reached(name, edges) for name in edges}
    expected = {tuple(other for other in "abcdef" if other in leads[name] and name in leads.get(other, ()))
                for name in edges if name in leads[name]}  # fmt: skip
    assert sorted(map(list, expected)) == found


@given(EDGES)
def test_a_way_leads_back(edges: dict[str, set[str]]) -> None:
    """Each step of it is an edge, and it ends where it began."""
    for group in cycles(edges, lambda name: edges.get(name, ())):
        for name in group:
            way = way_back(name, group, lambda one: edges.get(one, ()))
            assert (name, name) == (way[0], way[-1])
            assert all(after in edges[before] for before, after in pairwise(way))


def test_a_long_way_is_told_in_few_words() -> None:
    """Its beginning and its end."""
    assert "a → b → a" == format_way(["a", "b", "a"])
    assert "0 → 1 → 2 → 3 → … (4,995 more) … → 4999 → 0" == format_way([*map(str, range(MANY)), "0"])


def ring(file: str = "ring.yaml", count: int = MANY) -> tuple[Job, ...]:
    """So many jobs, each of which waits for the next, and the last for the first."""
    return tuple(
        job(f"j{number}", file=file, line=number, dependencies=(f"j{(number + 1) % count}",)) for number in range(count)
    )


def test_a_big_cycle_costs_as_much_as_its_edges() -> None:
    """Nobody is asked oftener than three times for whom it waits for."""
    asked = list[str]()

    def after(name: str) -> Iterable[str]:
        asked.append(name)
        return [str((int(name) + 1) % MANY)]

    (group,) = cycles(["0"], after)
    assert MANY == len(group)
    way_back("0", {*group}, after)
    assert len(asked) <= 3 * MANY


def test_a_big_cycle_is_one_short_message() -> None:
    """The file that brings it has one Problem; where it is in force all the same, the log gets one line."""
    (problem,) = Catalog().conflicts("ring.yaml", ring())
    assert ("ring.yaml", True) == (problem.file, len(problem.message) < 200)
    world = World()
    world.happen(events.JobsRead("ring.yaml", ring()))
    (said,) = [each for each in world.said if each.event == "job_invalid"]
    assert len(said.fields["reason"]) < 200
    assert MANY == len({each.id for each in world.scheduler.catalog if world.scheduler.invalid(each)})


def test_what_was_there_goes_on() -> None:
    """The file that closes a cycle is refused, whatever its name; the others stay, and it comes once there is none."""
    catalog = Catalog([job("b", file="b", dependencies=("a",)), job("c", file="c", on=(On("job", "b", "success"),))])
    closing = (job("a", file="a", line=7, dependencies=("c",)), job("good", file="a"))
    (problem,) = catalog.conflicts("a", closing)
    assert ("a", 7) == (problem.file, problem.line)
    assert problem.message.startswith("found a cycle: a → c → b → a; expected ")
    opened = {"a": closing, "b": (job("b", file="b"),)}
    assert {} == catalog.conflicts_among(opened)


def test_of_new_files_the_last_is_refused() -> None:
    """It keeps what it had, so its ids are not free for others."""
    catalog = Catalog([job("x", file="b")])
    files = {
        "a": (job("a", file="a", dependencies=("b",)),),
        "b": (job("b", file="b", dependencies=("a",)),),
        "c": (job("x", file="c"),),
    }
    refused = catalog.conflicts_among(files)
    assert ["b", "c"] == sorted(refused)
    assert "found a cycle: b → a → b" in refused["b"][0].message


def test_many_cycles_at_once_are_refused_at_once() -> None:
    """If each file closes another cycle with all others, one round refuses all of them."""
    names = [f"j{number:02}" for number in range(40)]
    files = {
        name: (job(name, file=name, dependencies=tuple(other for other in names if other != name)),) for name in names
    }
    refused = Catalog().conflicts_among(files)
    assert names == sorted(refused)
    assert all(len(problems) == 1 for problems in refused.values())


ROUNDS = st.lists(st.dictionaries(st.sampled_from("123"), EDGES, min_size=1), max_size=5)


@given(ROUNDS)
def test_no_cycle_is_ever_in_force(rounds: list[dict[str, dict[str, set[str]]]]) -> None:
    """Whatever comes together, what is accepted holds no cycle, and who is refused keeps what it has."""
    catalog = Catalog()
    for files in rounds:
        jobs = {
            file: tuple(job(name, file=file, dependencies=tuple(sorted(others))) for name, others in edges.items())
            for file, edges in files.items()
        }
        refused = catalog.conflicts_among(jobs)
        before = {each.id: each for each in catalog}
        for file in jobs.keys() - refused.keys():
            catalog.replace_file(file, jobs[file])
        assert {} == catalog.cycles()
        assert all(catalog.get(name) == each for name, each in before.items() if each.file in refused)
        accepted = [each for file in jobs.keys() - refused.keys() for each in jobs[file]]
        assert all(each == catalog.get(each.id) for each in accepted)
