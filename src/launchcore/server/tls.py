"""TLS: certificates from files, read again when they are renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs

from launchcore.plugin import Fault, LaunchError, Reason


@attrs.frozen(kw_only=True)
class Tls:
    """Which certificate a server shows, and whose it wants to see."""

    certificate: Path
    """PEM: its own, then those between it and the authority."""
    key: Path | None = None
    """PEM, without a passphrase; ``None``: it is in ``certificate``."""
    client_ca: Path | None = None
    """PEM: callers need a certificate of one of these authorities."""


def make_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 and later.

    :raises LaunchError: ``config_error``: a file cannot be used, with what to do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    load(context, tls)
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(cafile=tls.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("authority", tls.client_ca, error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load(context: ssl.SSLContext, tls: Tls) -> None:
    """Read the certificate (again, for connections from now on).

    :raises LaunchError: like :func:`make_context`; the context keeps what it had.
    """
    _try(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)
    _try(context, tls)


def _try(context: ssl.SSLContext, tls: Tls) -> None:
    for path in (tls.certificate, tls.key):
        if path is not None and not path.is_file():
            raise _unusable("certificate", path, FileNotFoundError("there is no such file"))
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise _unusable("certificate", tls.certificate, error) from None


def _no_passphrase() -> str:
    raise ValueError("its key has a passphrase, and nobody is there to type it")


def _unusable(what: str, path: Path, error: Exception) -> LaunchError:
    why = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
    return LaunchError(
        f"the {what} {path} cannot be used: {' '.join(str(why).split())[:200]}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.USER,
        hint="--tls-cert and --tls-key are PEM files that belong together; the key has no passphrase",
    )
