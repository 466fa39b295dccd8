"""Commands for several hosts at once (`jobqueuectl --fleet list`), by ssh.

`fleet_tables` joins the documents of the hosts into one table. Begin with `fleet_views`.
"""
