"""The daemon itself: its loop, the execution of commands, and the assembly of all parts.

`daemon` consists of four assemblies: state, jobs, runs, control. `acts` commits a turn's changes before it acts on
them. Begin with `daemon`.
"""
