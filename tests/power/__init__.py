"""Power loss: what a disk may hold after each write, and whether the daemon starts on it with its promises kept."""
