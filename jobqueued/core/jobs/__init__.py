"""Changes of jobs by files and users: jobs are added, changed, removed, paused, submitted or agreed with the fleet.

`jobs` puts the jobs of a file into the catalog. Begin with `jobs`.
"""
