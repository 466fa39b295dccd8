"""Even distribution: which units and which CPUs a run is given (docs/queue.md)."""

from __future__ import annotations

from jobqueued.base.instants import SECOND
from jobqueued.model.job import CORE, CPU, MEMORY, Claim
from jobqueued.queue.placement import CPUS, NUMBERED, Placed, Placement, environment

HALF, QUARTER = (Claim(CPU, CORE // 2),), (Claim(CPU, CORE // 4),)
GPU, GPUS, ALL_GPUS = (Claim("gpu", 1),), (Claim("gpu", 2),), (Claim("gpu", exclusive=True),)


def given(host: Placement, claims: tuple[Claim, ...], placement: str = "spread", mono: int = 0) -> Placed:
    """What a run is given, and has from now on."""
    placed = host.choose(placement, claims, mono)
    host.take(placed, claims, mono)
    return placed


def test_pack_fills_cpus_one_after_the_other() -> None:
    """Of those with room for the run it takes the fullest, of those without any the emptiest; of equals the first."""
    host = Placement({}, range(3))
    expected = [(HALF, 0), (QUARTER, 0), (HALF, 1), (QUARTER, 0), (HALF, 1), (QUARTER, 2), (HALF, 2), (QUARTER, 2)]
    assert [((CPUS, (cpu,)),) for _, cpu in expected] == [given(host, claims, "pack") for claims, _ in expected]
    assert {0: 1000, 1: 1000, 2: 1000} == host.load()
    given(host, HALF, "pack")
    assert ((CPUS, (1,)),) == given(host, HALF, "pack")


def test_spread_takes_the_emptiest_cpus_then_those_used_least_so_far() -> None:
    """What is free by now and was used longest comes last."""
    host = Placement({}, (4, 5, 6))
    first, second = given(host, HALF), given(host, HALF)
    assert (((CPUS, (4,)),), ((CPUS, (5,)),)) == (first, second)
    host.give_back(first, HALF, 3 * SECOND)
    host.give_back(second, HALF, 2 * SECOND)
    assert [((CPUS, (cpu,)),) for cpu in (6, 5, 4)] == [given(host, HALF, mono=4 * SECOND) for _ in range(3)]
    assert ((CPUS, (6,)),) == host.choose("spread", HALF, 4 * SECOND)  # all alike loaded: it was used least


def test_use_goes_on_while_a_cpu_is_in_use() -> None:
    """Of two that are loaded alike the one is chosen that has been so for a shorter time."""
    for later in (5 * SECOND, 1):
        host = Placement({}, range(2))
        given(host, HALF)
        given(host, HALF, mono=later)
        assert ((CPUS, (1,)),) == host.choose("spread", HALF, later) == host.choose("spread", HALF, 10 * SECOND)


def test_pack_looks_at_the_share_of_each_cpu() -> None:
    """Two with a quarter in use have room for three quarters each."""
    host = Placement({}, range(3))
    given(host, (Claim(CPU, 500), Claim("db", exclusive=True)))
    host.take(((CPUS, (0, 1)),), HALF, 0)
    host.give_back(((CPUS, (0,)),), HALF, 0)
    assert {0: 250, 1: 250, 2: 0} == host.load()
    assert ((CPUS, (0, 1)),) == host.choose("pack", (Claim(CPU, 1500),), 0)


def test_the_load_is_that_of_the_cpu_it_asks_for() -> None:
    """Whatever else it has: who asks for no CPU gets none."""
    host = Placement({"gpu": 3}, range(2))
    assert (("gpu", (0,)),) == given(host, GPU)
    assert (("gpu", (1, 2)), (CPUS, (0,))) == given(host, (*GPUS, *HALF))
    assert {0: 500, 1: 0} == host.load()


def test_use_is_load_times_time() -> None:
    """A quarter of a CPU for 3 s is less than half of one for 2 s, and counts while it goes on."""
    host = Placement({}, range(2))
    a, b = given(host, QUARTER), given(host, HALF)
    host.give_back(a, QUARTER, 3 * SECOND)
    host.give_back(b, HALF, 2 * SECOND)
    assert ((CPUS, (0,)),) == host.choose("spread", QUARTER, 5 * SECOND)
    units = Placement({"gpu": 2}, ())
    long = given(units, GPU)
    other = given(units, GPU, mono=SECOND)
    units.give_back(other, GPU, 9 * SECOND)
    units.give_back(long, GPU, 9 * SECOND)
    assert (("gpu", (1,)),) == units.choose("spread", GPU, 9 * SECOND)


def test_a_clock_that_went_back_takes_no_use_away() -> None:
    """Time before what is known counts as none."""
    host = Placement({"gpu": 2}, ())
    first = given(host, GPU, mono=10 * SECOND)
    host.give_back(first, GPU, SECOND)
    second = given(host, GPU, mono=SECOND)
    assert ((("gpu", (0,)),), (("gpu", (0,)),)) == (first, second)
    assert (("gpu", (1,)),) == given(host, GPU, mono=0)


def test_a_run_that_asks_for_more_than_a_cpu_shares_it_among_several() -> None:
    """Begun CPUs count; it gets no more than there are, in order, and its load is divided."""
    host = Placement({}, range(4))
    assert ((CPUS, (0, 1)),) == given(host, (Claim(CPU, 1500),))
    assert {0: 750, 1: 750, 2: 0, 3: 0} == host.load()
    assert ((CPUS, (2, 3)),) == given(host, (Claim(CPU, 2000),))
    assert ((CPUS, (0, 1, 2, 3)),) == host.choose("spread", (Claim(CPU, 9000),), 0)
    assert ((CPUS, (0,)),) == Placement({}, range(4)).choose("spread", (Claim(CPU, 1000),), 0)


def test_who_gets_no_cpus() -> None:
    """Only who asks for CPU, and for a placement, on a host whose CPUs are known."""
    host = Placement({}, range(2))
    assert () == host.choose("none", HALF, 0) == host.choose("spread", (Claim("db", exclusive=True),), 0)
    assert () == Placement({}, ()).choose("spread", HALF, 0)


def test_units_that_are_free() -> None:
    """A run gets the first ones (`pack`) or those used least, in order; with `exclusive` all; a share gets none."""
    host = Placement({"gpu": 3}, ())
    one = given(host, GPU)
    assert (("gpu", (0,)),) == one
    host.give_back(one, GPU, SECOND)
    assert (("gpu", (0, 1)),) == host.choose("pack", GPUS, SECOND)
    assert (("gpu", (1, 2)),) == given(host, GPUS, mono=SECOND)
    assert {0: 0, 1: 1, 2: 1} == host.load("gpu")
    assert (("gpu", (0,)),) == host.choose("spread", GPU, SECOND)
    assert (("gpu", (0, 1, 2)),) == Placement({"gpu": 3}, ()).choose("spread", ALL_GPUS, 0)
    assert () == host.choose("spread", (Claim("gpu", 0), Claim("db", exclusive=True)), 0)


def test_what_has_no_numbers() -> None:
    """CPU and memory are measured, and of more than 1024 units none has a number; a lock is no unit."""
    host = Placement({CPU: 4, MEMORY: 4, "many": NUMBERED + 1, "some": NUMBERED}, ())
    claims = (Claim(MEMORY, 1), Claim("many", 1), Claim("some", 1), Claim("db", exclusive=True))
    assert (1024, (("some", (0,)),)) == (NUMBERED, host.choose("spread", claims, 0))
    assert [{}, {}, {}, {}] == list(map(host.load, (MEMORY, "many", "db", CPUS)))


def test_what_an_earlier_host_gave_and_this_one_has_not() -> None:
    """A run that was found alive may have units that are not there any more; they are not counted."""
    host = Placement({"gpu": 1}, range(1))
    found: Placed = (("gpu", (0, 7)), ("tape", (1,)), (CPUS, (3,)))
    host.take(found, (Claim("gpu", 2), *HALF), 0)
    assert ({"gpu": {0: 1}, CPUS: {0: 0}}) == {name: host.load(name) for name in ("gpu", CPUS)}
    host.give_back(found, (Claim("gpu", 2), *HALF), SECOND)
    assert {0: 0} == host.load("gpu")
    host.take(((CPUS, (0,)),), GPU, SECOND)
    assert {0: 0} == host.load(), "who asks for no CPU takes no part of one"


def test_a_command_is_told() -> None:
    """The name of a variable is in capitals; what is none in a name is an underscore."""
    told = environment((("gpu.a-b", (0, 12)), (CPUS, (1,))))
    assert {"JOBQUEUE_GPU_A_B": "0,12", "JOBQUEUE_CPUS": "1"} == told
