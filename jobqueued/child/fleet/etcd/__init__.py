"""Calls of etcd's JSON gateway: HTTP, TLS, prefixes of keys, and a parser of values with limits.

The meaning of the values is defined elsewhere. Begin with `gateway`.
"""
