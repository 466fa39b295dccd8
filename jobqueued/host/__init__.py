"""Services of the kernel and the init system."""
