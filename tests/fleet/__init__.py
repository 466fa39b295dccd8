"""Real daemons of a fleet, under faults of hosts, network and etcd, judged by what the jobs wrote down."""
