"""The agent of a fleet: what stands between the scheduler and etcd; and jobqueue-fence.  Standard library only."""
