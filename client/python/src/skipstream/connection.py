"""Connects a client to its server: encryption and identity."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.experimental

# As the C++ client has them, where not said otherwise.
CHANNEL_OPTIONS = [
    # Messages may be this long: a large raw image must fit.
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024 * 1024),
    # A target with several addresses is several replicas: requests go to them in turn, and a retry
    # to one that answers.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # Our own retries decide how long to wait; the channel only reconnects as fast as they come.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # In spite of its name the time that making a connection may take.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A proxy of the environment is meant for the web, not for a model server, often on this
    # machine, and it would read the token. The second option turns off GRPC_ADDRESS_HTTP_PROXY,
    # which the first leaves on, and which gRPC has only in versions after the C++ client's.
    ("grpc.enable_http_proxy", 0),
    ("grpc.address_http_proxy_enabled_addresses", ""),
    # Messages are not compressed: a small one cannot unpack to a large one.
    ("grpc.compression_enabled_algorithms_bitset", 1),
]

_SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")
_SOCKET_SCHEMES = ("unix:", "unix-abstract:")
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True)
class Tls:
    """Files for encryption; all of it PEM, as a file's path or its bytes."""

    ca: str | Path | bytes | None = None
    """Whom to trust; None: whom the system trusts."""
    cert: str | Path | bytes | None = None
    """Certificate to show, for servers that ask clients for one."""
    key: str | Path | bytes | None = None
    """Private key of `cert`."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns credentials for a channel."""
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
        return None if _are_insecure(credentials) else credentials
    if credentials is not None:
        raise TypeError("give credentials or tls, not both")
    return (Tls() if tls is True else tls).credentials()


def _are_insecure(credentials: grpc.ChannelCredentials | None) -> bool:
    """True if these are gRPC's credentials for connections that are not encrypted."""
    insecure = grpc.experimental.insecure_channel_credentials()
    return getattr(credentials, "_credentials", None) is insecure._credentials


Metadata = tuple[tuple[str, str], ...]


def token_metadata(
    target: str, token: str | None, *, encrypted: bool, allow_plaintext_token: bool
) -> Metadata:
    """Metadata of every call. Raises ValueError, without the token, if it may not be sent."""
    check_ports(target)
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


def check_ports(target: str) -> None:
    """Raises ValueError for ports that there are not: gRPC would take another one."""
    if target.startswith(("unix:", "unix-abstract:")):
        return
    for address in target.split(","):
        port = re.search(r":(\d+)$", address)
        if port is not None and int(port[1]) > 65535:
            raise ValueError(f"{target}: a port is at most 65535, got {port[1]}")


def loopback_credentials(
    target: str, token: str | None, *, allow_plaintext_token: bool
) -> grpc.ChannelCredentials | None:
    """For a connection that is not encrypted and carries a token: refuses to leave this machine.

    gRPC checks the address of each connection, so the token stays here whatever a name such as
    "localhost" leads to. None: nothing to check.
    """
    if token is None or allow_plaintext_token or target.startswith(_SOCKET_SCHEMES):
        return None
    return grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)


def is_this_machine(target: str) -> bool:
    """True if the target surely names this machine and nothing else."""
    if target.startswith(_SOCKET_SCHEMES):
        return True
    address = re.sub(r"^(dns:///|dns:|ipv4:|ipv6:)", "", target)
    match = re.fullmatch(r"\[([^\]]*)\](?::\d+)?|([^:]*)(?::\d+)?|(.*)", address)
    host = next((group for group in match.groups() if group), "") if match else ""
    if host == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    # A scope ("::1%eth0") names an interface, which is not surely that of this machine alone.
    return getattr(ip, "scope_id", None) is None and any(ip in network for network in _LOOPBACK)


def with_trace(metadata: Metadata, traceparent: str | None) -> Metadata:
    """Adds the W3C Trace Context of one call. Raises ValueError if it is not printable ASCII."""
    if traceparent is not None and re.fullmatch(r"[ -~]*", traceparent) is None:
        raise ValueError("traceparent holds characters that are not printable ASCII")
    return metadata if traceparent is None else (*metadata, ("traceparent", traceparent))
