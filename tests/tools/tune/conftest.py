from collections.abc import Iterator

import pytest
from skipstream_quality.options import DEFAULT_MODEL
from skipstream_quality.server import DEFAULT_BINARY, own_server


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A real server with the shipped model."""
    with own_server(DEFAULT_BINARY, str(DEFAULT_MODEL), ["--warmup_budget=0.2"]) as address:
        yield address
