"""The part of the scheduler that handles events of the fleet.

A host without a fleet never gets here. Begin with `fleet`.
"""
