"""``python -m jobqueued.ctl``: the same as ``jobqueuectl``."""

from jobqueued.ctl.main import main

main()
