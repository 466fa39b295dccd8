"""Knowledge of the other hosts of the fleet.

`fleet_state` has the open questions to the fleet and their answers. Begin with `fleet_state`.
"""
