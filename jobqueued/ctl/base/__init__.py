"""Code that commands share: calls to the daemon, arguments, tables for the terminal, records, shell completion.

`client` calls the daemon and explains its refusals. Begin with `client`.
"""
