"""Commands for several hosts at once (`jobqueuectl --fleet list`), over ssh.

`fleet_tables` merges the hosts' documents into one table. Begin with `fleet_views`.
"""
