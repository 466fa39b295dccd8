"""The members of an etcd: which of them a host asks first."""

from __future__ import annotations

from jobqueued.child.fleet.etcd import gateway


def test_each_member_has_its_share() -> None:
    """Hosts begin with different members; one on a host itself comes first there."""
    members = [f"https://{name}.example.org:2379" for name in "abc"]
    firsts = [gateway.nearest_first(members, f"db{number}")[0] for number in range(300)]
    assert all(70 < firsts.count(member) < 130 for member in members)
    for host, member in (("b", 1), ("c.example.org", 2), ("C.Example.org", 2), ("c.example.com", None)):
        found = {gateway.nearest_first(each, host)[0] for each in (members, members[::-1])}
        assert (found == {members[member]}) if member is not None else (len(found) == 2)
    for own in ("http://127.0.0.1:2379", "http://localhost:2379", "http://[::1]:2379"):
        assert own == gateway.nearest_first([*members, own], "db1")[0]
    assert all(sorted(gateway.nearest_first(members, host)) == members for host in ("b", "db1"))
    assert ["http://[::1]:2379"] == gateway.nearest_first(["http://[::1]:2379"], "db1")
