"""The daemon itself: its loop, how decisions are carried out, and how all parts are put together.

`daemon` is made of four assemblies: state, jobs, runs, control. `acts` commits a turn's changes before it acts on them.
Begin with `daemon`.
"""
