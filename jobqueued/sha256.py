"""SHA-256 as Python has it itself: hashlib would load OpenSSL, which takes longer than all that is hashed here."""

from jobqueued.hollow import own_copy, without

try:
    with own_copy("hashlib"), without(absent=("_hashlib",)):
        from hashlib import sha256
except ImportError:  # a Python that was built with OpenSSL's alone
    from hashlib import sha256

__all__ = ["sha256"]
