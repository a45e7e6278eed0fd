"""As much HTTP/2 as it takes to misuse it: frames go out as given, right or wrong."""

from __future__ import annotations

import socket
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION = 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GENERATE = "/skipstream.v1.ImageGeneration/Generate"

_INITIAL_WINDOW_SIZE = 0x4
_DEFAULT_WINDOW = 65535


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    length = struct.pack(">I", len(payload))[1:]
    return length + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(values: dict[int, int]) -> bytes:
    packed = (struct.pack(">HI", key, value) for key, value in values.items())
    return frame(SETTINGS, payload=b"".join(packed))


def header_block(path: str = GENERATE) -> bytes:
    """The headers of a gRPC call, as HPACK literals that leave no trace in any table."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(
        b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in fields.items()
    )


def message(body: bytes) -> bytes:
    """A gRPC message around these bytes."""
    return b"\x00" + struct.pack(">I", len(body)) + body


def call(stream: int, body: bytes) -> bytes:
    """A whole unary request."""
    headers = frame(HEADERS, END_HEADERS, stream, header_block())
    return headers + frame(DATA, END_STREAM, stream, message(body))


class Connection:
    """A connection that has said hello. Blocking, with a time limit; what fails raises OSError."""

    def __init__(self, target: str, own_settings: dict[int, int] | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=5)
        self._received = b""
        self.window = _DEFAULT_WINDOW  # what we may send on the connection
        self.stream_windows: dict[int, int] = {}
        self._initial_window = _DEFAULT_WINDOW
        self._ended: set[int] = set()
        self.told_to_go = False
        self.send(PREFACE + settings(own_settings or {}))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    @property
    def streams_ended(self) -> int:
        """Streams that the peer has ended, in any way."""
        return len(self._ended)

    def open_stream(self, stream: int) -> None:
        self.stream_windows[stream] = self._initial_window
        self.send(frame(HEADERS, END_HEADERS, stream, header_block()))

    def send_as_allowed(self, stream: int, data: bytes) -> int:
        """Sends as much of it as both windows take; returns how much."""
        allowed = max(0, min(self.window, self.stream_windows[stream], 16384, len(data)))
        if allowed:
            self.window -= allowed
            self.stream_windows[stream] -= allowed
            self.send(frame(DATA, 0, stream, data[:allowed]))
        return allowed

    def read(self, wait: float = 0.0) -> None:
        """Takes what has come, waiting so long for the first of it; answers what asks for it."""
        self._socket.settimeout(wait or 1e-4)
        try:
            while data := self._socket.recv(1 << 18):
                self._received += data
                self._socket.settimeout(1e-4)
            self.told_to_go = True
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(5)
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + length:
                return
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9], "big")
            payload = self._received[9 : 9 + length]
            self._received = self._received[9 + length :]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for offset in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, offset)
                if key == _INITIAL_WINDOW_SIZE:
                    for opened in self.stream_windows:
                        self.stream_windows[opened] += value - self._initial_window
                    self._initial_window = value
            self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, payload=payload))
        elif kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if stream == 0:
                self.window += more
            elif stream in self.stream_windows:
                self.stream_windows[stream] += more
        elif kind == GOAWAY:
            self.told_to_go = True
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._ended.add(stream)

    def give_back(self, size: int) -> None:
        """Lets the peer send this number of bytes more."""
        self.send(frame(WINDOW_UPDATE, payload=struct.pack(">I", size)))

    def close(self) -> None:
        self._socket.close()
