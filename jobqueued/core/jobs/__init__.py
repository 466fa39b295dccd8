"""Changes of jobs by files and users: new, changed, removed, paused, submitted, agreed with the fleet.

`jobs` puts the jobs of a file into the catalog. Begin with `jobs`.
"""
