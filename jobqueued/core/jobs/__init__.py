"""Jobs as files and people change them: new, changed, removed, paused, submitted, agreed with the fleet.

`jobs` puts the jobs of a file into the catalog. Begin with `jobs`.
"""
