import grpc
import grpc.experimental
import pytest
import skipstream
from skipstream.connection import Tls, is_this_machine, token_metadata, with_trace

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051",
        "localhost",
        "127.0.0.1:50051",
        "127.8.9.10:1",
        "[::1]:50051",
        "::1",
        "dns:///localhost:50051",
        "ipv4:127.0.0.1:50051",
        "ipv6:[::1]:50051",
        "unix:/run/skipstream.sock",
    ],
)
def test_a_token_is_sent_in_clear_to_this_machine(target: str) -> None:
    assert is_this_machine(target)
    assert skipstream.Client(target, token="secret") is not None


@pytest.mark.parametrize(
    "target",
    [
        "example.com:50051",
        "10.0.0.1:50051",
        "127.0.0.1.example.com:50051",
        "localhost.example.com:50051",
        "ipv4:127.0.0.1:50051,10.0.0.1:50051",
        "[2001:db8::1]:50051",
        "dns://127.0.0.1/example.com:50051",
        "xds:///localhost",
        "0.0.0.0:50051",
    ],
)
@pytest.mark.parametrize("client", [skipstream.Client])
def test_a_token_is_not_sent_in_clear_to_another_machine(
    target: str, client: type[skipstream.Client]
) -> None:
    with pytest.raises(ValueError, match="not encrypted") as raised:
        client(target, token="secret")
    assert "secret" not in str(raised.value)
    client(target, token="secret", allow_plaintext_token=True).close()
    client(target, token="secret", tls=True).close()


async def test_the_asyncio_client_is_as_careful() -> None:
    with pytest.raises(ValueError, match="not encrypted"):
        skipstream.AsyncClient("example.com:50051", token="secret")


@pytest.mark.parametrize("client", [skipstream.Client, skipstream.AsyncClient])
async def test_credentials_that_do_not_encrypt_are_none(client: type) -> None:
    insecure = grpc.experimental.insecure_channel_credentials()
    with pytest.raises(ValueError, match="not encrypted"):
        client("example.com:50051", token="secret", credentials=insecure)
    client("localhost:50051", token="secret", credentials=insecure)


def test_a_trace_that_no_header_holds_is_refused() -> None:
    for bad in ("line\nbreak", "caf\u00e9", "\x1b"):
        with pytest.raises(ValueError, match="traceparent"):
            with_trace((), bad)


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "caf\u00e9"])
def test_what_cannot_be_a_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValueError, match="one word of printable ASCII"):
        token_metadata("localhost:1", token, encrypted=True, allow_plaintext_token=False)


def test_the_end_of_the_files_line_is_no_part_of_the_token() -> None:
    assert token_metadata("localhost:1", "t\n", encrypted=False, allow_plaintext_token=False) == (
        ("authorization", "Bearer t"),
    )


def test_the_trace_goes_with_the_token() -> None:
    assert with_trace((("authorization", "Bearer t"),), TRACEPARENT) == (
        ("authorization", "Bearer t"),
        ("traceparent", TRACEPARENT),
    )


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="needed together"):
        skipstream.Client("localhost:1", tls=Tls(cert=b"x"))


@pytest.mark.parametrize("target", ["127.0.0.1:65536", "ipv4:10.0.0.1:1,10.0.0.2:70000"])
def test_ports_that_there_are_not_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match="at most 65535"):
        skipstream.Client(target)
