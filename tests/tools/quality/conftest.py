from collections.abc import Iterator
from pathlib import Path

import pytest
from skipstream_data import nouns
from skipstream_quality.decode import Decoder
from skipstream_quality.encoders import PartsEncoder
from skipstream_quality.options import DEFAULT_MODEL
from skipstream_quality.server import DEFAULT_BINARY, own_server


@pytest.fixture(scope="session")
def parts() -> nouns.Parts:
    return nouns.load()


@pytest.fixture(scope="session")
def decoder(parts: nouns.Parts) -> Decoder:
    return Decoder(parts)


@pytest.fixture(scope="session")
def encoder() -> PartsEncoder:
    return PartsEncoder.load()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A real server with the shipped model."""
    with own_server(DEFAULT_BINARY, str(DEFAULT_MODEL), ["--warmup_budget=0.2"]) as address:
        yield address


@pytest.fixture
def tiny_study() -> Path:
    return Path(__file__).parent / "tiny.toml"
