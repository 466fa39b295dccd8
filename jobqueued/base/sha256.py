"""SHA-256 in Python's own implementation, because hashlib would load OpenSSL, and loading takes longer than hashing."""

from jobqueued.base.import_stubs import own_copy, without

try:
    with own_copy("hashlib"), without(absent=("_hashlib",)):
        from hashlib import sha256
except ImportError:  # this Python has only OpenSSL's version
    from hashlib import sha256

__all__ = ["sha256"]
