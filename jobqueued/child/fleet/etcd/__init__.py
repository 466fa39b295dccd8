"""Calls of etcd's JSON gateway: HTTP, TLS, keys with a prefix, and values that are parsed within bounds.

Nothing here knows what the values mean. Begin with `gateway`.
"""
