"""Saved facts about the fleet's other hosts.

`fleet_state` has the open questions to the fleet and their answers. Begin with `fleet_state`.
"""
