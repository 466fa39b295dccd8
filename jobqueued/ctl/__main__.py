"""``python -m jobqueued.ctl`` runs ``jobqueuectl``."""

from jobqueued.ctl.main import main

main()
