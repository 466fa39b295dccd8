"""The agent of a fleet, which connects the scheduler with etcd; and jobqueue-fence. Standard library only."""
