"""The agent of a fleet: what stands between the scheduler and etcd; standard library only."""
