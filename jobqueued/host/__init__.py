"""What the kernel and the init system offer."""
