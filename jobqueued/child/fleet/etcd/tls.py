"""TLS as configured in a fleet's settings, and TLS errors with remedies.

The files are read for each connection, so a renewed file needs no restart.
"""

from __future__ import annotations

import os
import ssl

FILES = ("authority", "certificate", "key")
"""Settings whose values are files."""
_EXPIRED, _NOT_YET, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
"""X509_V_ERR_… codes for an unknown authority; see openssl-verification-options(1)."""
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it requires a certificate from this host: set `certificate` and `key`",
    "CERTIFICATE_EXPIRED": "this host's certificate has expired: renew it",
    "UNKNOWN_CA": "it does not trust the authority that signed this host's certificate",
    "BAD_CERTIFICATE": "it refuses the certificate of this host: another authority signed it, or it is for"
    " another purpose",
}
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"})


class TlsUnusable(Exception):
    """TLS is impossible; the message has the setting and the error in its file."""


class Tls:
    """The PEM files, each given as a path or as the name of a credential, or "" if not used."""

    def __init__(self, authority: str = "", certificate: str = "", key: str = "") -> None:
        self._given = dict(zip(FILES, (authority, certificate, key), strict=True))

    def context(self) -> ssl.SSLContext:
        """Return a context from the files' current content. Raises TlsUnusable."""
        paths = {name: _readable(name, given) for name, given in self._given.items() if given}
        try:
            context = ssl.create_default_context(cafile=paths.get("authority"))
        except ssl.SSLError:
            raise TlsUnusable(f"authority: {paths['authority']} has no PEM certificate") from None
        if "certificate" in paths:
            _introduce(context, paths["certificate"], paths["key"])
        return context

    def words(self, error: ssl.SSLError) -> str:
        """Describe why a connection failed."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate {self._refusal(error)}"
        reason = error.reason or str(error)
        alert = reason.rpartition("ALERT_")[2]
        if alert == "BAD_CERTIFICATE" and not self._given["certificate"]:
            alert = "CERTIFICATE_REQUIRED"
        if reason in _NO_TLS or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return "it closed the connection, or does not use TLS"
        return _ALERTS.get(alert) or f"TLS failed: {reason.lower().replace('_', ' ')}"

    def _refusal(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in _UNKNOWN_AUTHORITY:
            known = f"in {name}" if (name := self._given["authority"]) else "that this host trusts"
            return f"is not signed by an authority {known}: set `authority`"
        if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
            name = error.verify_message.rstrip(".").rpartition(" ")[2]
            return f"is not for {name}: in `etcd`, use a name from the certificate, or get a certificate for this name"
        known_words = {_EXPIRED: "has expired", _NOT_YET: "is not valid yet, or this host's clock is wrong"}
        return known_words.get(error.verify_code, f"is refused: {error.verify_message}")


def _introduce(context: ssl.SSLContext, certificate: str, key: str) -> None:
    def password() -> str:
        raise TlsUnusable(f"key: {key} has a password; use a key without one")

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsUnusable(f"key: {key} does not belong to {certificate}") from None
        raise TlsUnusable(f"certificate, key: {certificate} has no PEM certificate, or {key} no PEM key") from None


def _readable(name: str, given: str) -> str:
    """Return the path of a readable file. Raises TlsUnusable."""
    path = given if "/" in given else _credential(name, given)
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        why = error.strerror
    if path == given:
        raise TlsUnusable(f"{name}: {path}: {why}")
    store = f"store it as /etc/credstore/{given} (or see LoadCredential= in systemd.exec(5)), then restart the service"
    raise TlsUnusable(f"{name}: jobqueued-fleet.service has no credential {given}: {store}")


def _credential(name: str, given: str) -> str:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory is None and "INVOCATION_ID" not in os.environ:
        raise TlsUnusable(f"{name}: credentials such as {given} exist only in systemd units; use a file path")
    return f"{directory or '/run/credentials'}/{given}"
