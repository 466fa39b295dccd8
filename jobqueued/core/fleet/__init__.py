"""The part of the scheduler that handles the fleet's events.

A host without a fleet never calls this code. Begin with `fleet`.
"""
