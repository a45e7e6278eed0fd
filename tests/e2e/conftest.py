import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # harness and hostile_files, for the tests beside it

import skipstream
from harness import MODEL, PATIENCE, Cli, Server, binary
from hostile_files import with_config


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the default model, a twin of it, and one that cannot do without a class."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(MODEL, folder / "nouns32.safetensors")
    shutil.copy(MODEL, folder / "second.safetensors")
    undropped = with_config(MODEL.read_bytes(), label_dropout=0.0)
    (folder / "undropped.safetensors").write_bytes(undropped)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Iterator[Server]:
    """One server in the default mode for all tests that leave it as they found it."""
    log = tmp_path_factory.mktemp("server") / "log"
    with Server(
        "--max_batch=16", f"--model_dir={model_dir}", "--enable_model_control", log=log
    ) as server:
        yield server
        assert server.process.poll() is None, f"the server died:\n{server.errors()}"


@pytest.fixture(scope="session")
def exact_server(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Iterator[Server]:
    """One with --deterministic."""
    log = tmp_path_factory.mktemp("exact_server") / "log"
    models = "--model=nouns32,second,undropped"
    with Server(
        "--max_batch=4", "--deterministic", f"--model_dir={model_dir}", models, log=log
    ) as server:
        yield server
        assert server.process.poll() is None, f"the server died:\n{server.errors()}"


@pytest.fixture
def client(server: Server) -> Iterator[skipstream.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def exact_client(exact_server: Server) -> Iterator[skipstream.Client]:
    with exact_server.client() as client:
        yield client


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own; they are stopped after it."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(Server(*flags, log=tmp_path / f"log{len(servers)}"))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs the command in an empty folder."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [binary("skipstream"), *arguments],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return run
