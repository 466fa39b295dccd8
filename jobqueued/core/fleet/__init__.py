"""The part of the scheduler that handles events of the fleet.

A host without a fleet never calls this code. Begin with `fleet`.
"""
