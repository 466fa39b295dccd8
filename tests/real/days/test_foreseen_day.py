"""A day of chaos that is foreseen from its middle: the figures are those of its records."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.state.record_files import write
from tests.chaos.foreseen import foreseen
from tests.support.records import NOW, a_record


@pytest.mark.parametrize("late", [0, 60])
def test_what_could_be_foreseen(tmp_path: Path, late: int) -> None:
    """Jobs that were disabled in the evening count; what came a second late was in its band, a minute late it was not,
    nor what was skipped.
    """
    (tmp_path / "jobqueue.d").mkdir()
    (tmp_path / "jobqueue.d" / "a.yaml").write_text("jobs: {job: {command: x, every: 10s, enabled: false}}\n")
    (tmp_path / "jobqueued.yaml").write_text("{}\n")
    for number in range(10, 1010, 10):
        state = "skipped" if number == 990 else "succeeded"
        document = a_record(number, state)
        if number >= 900 and state != "skipped":
            for told in (document, document["attempts"][0]):
                told["started"], told["ended"] = (a_record(number + late)[name] for name in ("started", "ended"))
        write(tmp_path / "logs", document)
    assert {
        "runs that waited where a part of the day is foreseen from": 0,
        "starts that are foreseen, and known": 10,
        "starts of these in their bands of 95 %": 0 if late else 9,
        "starts of these that were skipped": 1,
        "milliseconds that half of these starts came off": 1000 * (1 + late),
        "milliseconds that the quickest of these starts took": 1000 * (1 + late),
    } == foreseen(tmp_path, NOW + 899 * SECOND, 100 * SECOND)
