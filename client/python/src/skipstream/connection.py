"""How a client reaches its server: encrypted or not, and as whom."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

_SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Tls:
    """What to encrypt with; all of it PEM, as a file's path or its bytes."""

    ca: str | Path | bytes | None = None
    """Whom to trust; None: whom the system trusts."""
    cert: str | Path | bytes | None = None
    """Certificate to show, for servers that ask clients for one."""
    key: str | Path | bytes | None = None
    """Private key of `cert`."""

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel."""
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client's certificate and its key are needed together, or neither")
        ca = self.ca
        if ca is None and _SYSTEM_CA.exists():
            ca = _SYSTEM_CA
        return grpc.ssl_channel_credentials(_pem(ca), _pem(self.key), _pem(self.cert))


def _pem(source: str | Path | bytes | None) -> bytes | None:
    return source if source is None or isinstance(source, bytes) else Path(source).read_bytes()


def channel_credentials(
    credentials: grpc.ChannelCredentials | None, tls: Tls | bool
) -> grpc.ChannelCredentials | None:
    """What was given in either way; None: not encrypted."""
    if tls is False:
        return credentials
    if credentials is not None:
        raise TypeError("give credentials or tls, not both")
    return (Tls() if tls is True else tls).credentials()


Metadata = tuple[tuple[str, str], ...]


def token_metadata(
    target: str, token: str | None, *, encrypted: bool, allow_plaintext_token: bool
) -> Metadata:
    """What goes with every call. Raises ValueError, without the token, if it may not be sent."""
    if token is None:
        return ()
    token = token.strip()
    if re.fullmatch(r"[!-~]+", token) is None:
        raise ValueError("a token is one word of printable ASCII")
    if not (encrypted or allow_plaintext_token or is_this_machine(target)):
        raise ValueError(
            f"the token is not sent to {target} because the connection is not encrypted: anybody "
            "on the way could read it; use tls (or allow_plaintext_token if the way is safe)"
        )
    return (("authorization", f"Bearer {token}"),)


def is_this_machine(target: str) -> bool:
    """Whether nobody but this machine can listen on the way; what is not surely so is not."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = re.sub(r"^(dns:///|dns:|ipv4:|ipv6:)", "", target)
    match = re.fullmatch(r"\[([^\]]*)\](?::\d+)?|([^:]*)(?::\d+)?|(.*)", address)
    host = next((group for group in match.groups() if group), "") if match else ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_trace(metadata: Metadata, traceparent: str | None) -> Metadata:
    """Adds the W3C Trace Context of one call."""
    return metadata if traceparent is None else (*metadata, ("traceparent", traceparent))
