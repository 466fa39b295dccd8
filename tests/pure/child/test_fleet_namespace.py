"""The keys of a fleet in an etcd: they have its name there, and nothing else of what passes is changed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.child.fleet.etcd.namespace import named, nameless
from jobqueued.child.fleet.etcd.wire import coded, text

_NAMES = st.from_regex("[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True)
_TEXTS = st.one_of(st.text(), st.sampled_from(['"key": "L2pxL2E="', '\\"key\\":\\"L2pxL2E=\\"', "/jq/x", "L2pxL2E="]))
_LEAVES = st.one_of(_TEXTS, st.integers(), st.none(), st.booleans())
_KEYS = st.text().filter(lambda name: not name.startswith("../")).map(lambda name: coded(f"/jq/{name}"))


@st.composite
def _calls(draw: st.DrawFn, depth: int = 2) -> Any:
    """JSON that has keys in it, as deep as calls have."""
    found = draw(st.dictionaries(_TEXTS.filter(lambda name: name not in ("key", "range_end")), _LEAVES, max_size=3))
    if draw(st.booleans()):
        found["key"] = draw(_KEYS)
    if draw(st.booleans()):
        found["range_end"] = draw(_KEYS)
    if depth:
        found["success"] = draw(st.lists(_calls(depth - 1), max_size=3))
        found["request_txn"] = draw(_calls(depth - 1))
    return found


def _told(value: Any, fleet: str) -> Any:
    """What is meant: the same, looked through."""
    if isinstance(value, list):
        return [_told(each, fleet) for each in value]
    if not isinstance(value, dict):
        return value
    keys = {name: coded(f"/jq/{fleet}/{text(value[name])[4:]}") for name in ("key", "range_end") if name in value}
    return {name: _told(it, fleet) for name, it in value.items()} | keys


@settings(max_examples=60)
@given(_calls(), _NAMES, st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_all_keys_and_nothing_else(call: Any, fleet: str, separators: tuple[str, str]) -> None:
    """Each key gets the name, and loses it again; what looks like a key within a text stays."""
    data = json.dumps(call, separators=separators).encode()
    assert _told(call, fleet) == json.loads(named(data, fleet))
    assert call == json.loads(nameless(named(data, fleet), fleet))


def test_what_is_anothers() -> None:
    """A key of another fleet, or of none, is told as it is."""
    for key in ("/jq/other/hosts/a", "/jq/fleets/hosts/a", "/x/fleet/a", "/jq/fleet"):
        data = json.dumps({"key": coded(key)}).encode()
        assert data == nameless(data, "fleet")
    data = json.dumps({"key": coded("/x/fleet/a")}).encode()
    assert data == named(data, "fleet")
    data = json.dumps({"key": coded("/jq/../other/jobs/"), "range_end": coded("/jq/../other/jobs0")}).encode()
    assert json.dumps({"key": coded("/jq/other/jobs/"), "range_end": coded("/jq/other/jobs0")}).encode() == named(
        data, "fleet"
    )
