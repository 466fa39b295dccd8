"""Calls of etcd's JSON gateway: HTTP, TLS, key prefixes, and a parser that limits values.

Other modules define the values' meaning. Begin with `gateway`.
"""
