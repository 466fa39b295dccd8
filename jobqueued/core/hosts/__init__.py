"""What this host knows of the other hosts of its fleet.

`fleet_state` has the open questions to the fleet and their answers. Begin with `fleet_state`.
"""
