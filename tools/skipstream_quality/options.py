"""Command-line options that tools/quality and tools/tune share, and what they open."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from skipstream import SkipstreamError
from skipstream_files import say

from skipstream_quality.errors import QualityError
from skipstream_quality.server import DEFAULT_BINARY, ROOT, own_server
from skipstream_quality.service import Options, Service, connect

DEFAULT_MODEL = ROOT / "model" / "zoo" / "nouns32.safetensors"
DEFAULT_CACHE = ROOT / "build" / "quality"


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """Options of the server and the model."""
    group = parser.add_argument_group("service")
    group.add_argument(
        "--address", help="HOST:PORT of a running server; default: start one and stop it afterwards"
    )
    group.add_argument("--server", type=Path, default=DEFAULT_BINARY, help="program of one's own")
    group.add_argument(
        "--server-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="for the server of one's own, such as --server-flag=--max_batch=64; may be repeated",
    )
    group.add_argument(
        "--model-file",
        type=Path,
        help="model file for the server of one's own; default: the shipped model",
    )
    group.add_argument(
        "--model", default="", help="with --address: name of the model; default: the server's"
    )
    group.add_argument("--per-request", type=int, default=16, help="images a request (16)")
    group.add_argument("--in-flight", type=int, default=4, help="requests at a time (4)")
    group.add_argument(
        "--priority", choices=("low", "normal", "high"), default="low", help="of requests (low)"
    )
    group.add_argument(
        "--cache",
        type=Path,
        default=DEFAULT_CACHE,
        help="folder that keeps pictures and scores; the same command goes on where it stopped "
        "(build/quality)",
    )


@contextlib.asynccontextmanager
async def open_service(arguments: argparse.Namespace) -> AsyncIterator[Service]:
    """The service that these options name."""
    if arguments.per_request < 1 or arguments.in_flight < 1:
        raise QualityError("--per-request and --in-flight must be 1 or more")
    options = Options(
        arguments.cache, arguments.per_request, arguments.in_flight, arguments.priority
    )
    with contextlib.ExitStack() as stack:
        address, name, file = arguments.address, arguments.model, arguments.model_file
        if address is None:
            if name:
                raise QualityError("--model goes with --address; otherwise give --model-file")
            file = (file or DEFAULT_MODEL).resolve()
            address = stack.enter_context(
                own_server(arguments.server, str(file), arguments.server_flag)
            )
        client, service = await connect(address, name, options, file)
        async with client:
            yield service


def run(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Runs a command to its exit status. Ctrl-C cancels what the server still does for us."""
    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (QualityError, SkipstreamError, OSError) as error:
        say(f"error: {error}", errors=True)
        return 1
