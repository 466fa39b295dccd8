"""The daemon itself: its loop, the execution of commands, and the assembly of all parts.

`daemon` combines four assemblies: state, jobs, runs, control. `acts` commits a turn's changes, and then executes the
turn's commands. Begin with `daemon`.
"""
