"""The include graph of the C++ sources and the rules it must respect (docs/architecture.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("base", "model", "server", "client", "tools", "bench", "tests")
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)

Matcher = Callable[[str], bool]


def under(*prefixes: str) -> Matcher:
    """Matches paths that begin with one of these."""
    return lambda path: path.startswith(prefixes)


torch = under("torch/", "ATen/", "c10/", "caffe2/")
grpc = under("grpc/", "grpc++/", "grpcpp/")


def protobuf(path: str) -> bool:
    return path.startswith(("google/protobuf/", "google/rpc/")) or path.endswith(".pb.h")


def flags(path: str) -> bool:
    return path.startswith(("CLI/", "absl/flags/", "gflags/"))


def either(*matchers: Matcher) -> Matcher:
    return lambda path: any(matcher(path) for matcher in matchers)


@dataclass(frozen=True)
class Rule:
    """Headers that `sources` may not include, directly or through any other header."""

    name: str
    sources: Matcher
    forbidden: Matcher
    allowed: Matcher = lambda path: False


# The folders that each folder may include, beside itself. A folder that is not named here may
# include any: programs and tests.
BELOW = {
    "base/": (),
    "base/image/": ("base/",),
    "model/": ("base/image/", "model/diffusion/"),
    "model/diffusion/": ("base/", "model/"),
    "model/files/": ("base/", "model/", "model/diffusion/"),
    "model/nn/": ("base/", "model/files/"),
    "model/families/edm_unet/": (
        "base/",
        "model/",
        "model/diffusion/",
        "model/files/",
        "model/nn/",
    ),
    "model/backends/": (
        "base/",
        "model/",
        "model/diffusion/",
        "model/families/edm_unet/",
        "model/nn/",
    ),
    "model/backends/cpu/": (
        "base/",
        "model/",
        "model/backends/",
        "model/diffusion/",
        "model/families/edm_unet/",
        "model/nn/",
    ),
    "model/backends/cuda/": (
        "model/",
        "model/backends/",
        "model/diffusion/",
        "model/families/edm_unet/",
        "model/nn/",
    ),
    "server/net/": ("base/",),
    "server/log/": (),
    "server/metrics/": ("server/net/",),
    "server/engine/": ("base/", "base/image/", "model/", "model/diffusion/", "server/metrics/"),
    "server/request/": ("base/", "base/image/", "model/", "model/diffusion/", "server/engine/"),
    "server/generation/": (
        "base/",
        "base/image/",
        "server/engine/",
        "server/log/",
        "server/metrics/",
        "server/request/",
    ),
    "server/security/": ("base/", "server/engine/", "server/log/", "server/request/"),
    "server/rpc/workarounds/": ("base/", "server/log/", "server/net/"),
    "client/cc/": (),
    "client/cli/output/": ("base/", "client/cc/"),
    "client/cli/flags/": ("base/", "client/cc/", "client/cli/output/"),
    "client/cli/sweep/": ("client/cli/flags/", "client/cli/output/"),
    "client/cli/commands/": (
        "base/",
        "client/cc/",
        "client/cli/flags/",
        "client/cli/output/",
        "client/cli/sweep/",
    ),
}
# No folder of the product holds more rooms than this; a header and its source are one.
MAX_ROOMS = 20

TORCH_FREE = under(
    "base/",
    "model/executor.h",
    "model/network_info.h",
    "model/extent.h",
    "model/diffusion/",
    "model/files/",
    "model/execution/replica_executor.",
    "model/execution/device_list.",
    "server/",
    "client/",
)

RULES = (
    Rule("what needs no LibTorch sees none", TORCH_FREE, torch),
    Rule(
        "base/ and model/ know neither gRPC nor protobuf",
        under("base/", "model/"),
        either(grpc, protobuf),
    ),
    Rule(
        "the engine knows neither gRPC nor protobuf",
        under("server/engine/"),
        either(grpc, protobuf),
    ),
    Rule(
        "requests and generations know protobuf, not gRPC",
        under("server/request/", "server/generation/"),
        grpc,
    ),
    Rule(
        "only the HTTP server of the metrics sees Boost",
        lambda path: True,
        under("boost/"),
        allowed=under("server/metrics/http_server.cc"),
    ),
    Rule(
        "the CPU kernels stand alone",
        under("model/backends/cpu/kernels", "model/backends/cpu/team."),
        either(torch, under("absl/", "base/", "model/nn/", "model/families/", "model/diffusion/")),
    ),
    Rule(
        "only main sees how an executor is made",
        under("server/"),
        under("model/execution/", "model/backends/", "model/families/", "model/nn/"),
        allowed=under("server/startup/main.cc"),
    ),
    Rule("model/ knows nothing above it", under("model/"), under("server/", "client/")),
    Rule("the client knows only the API", under("client/"), under("server/", "model/")),
    Rule("the server knows no client", under("server/"), under("client/")),
    Rule(
        "nothing that ships includes tests",
        under("base/", "model/", "server/", "client/"),
        under("tests/"),
    ),
    Rule(
        "flags are read by programs, not by libraries",
        under("base/", "model/", "server/", "client/cc/"),
        flags,
        allowed=under("server/startup/main.cc", "server/startup/flags."),
    ),
)


class IncludeGraph:
    """Files under FOLDERS of `root`, by their path from there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.includes: dict[str, list[str]] = {}
        self.relative: list[tuple[str, str]] = []
        for folder in FOLDERS:
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in (".h", ".cc", ".inc", ".cu", ".cuh"):
                    self._add(path)

    def _add(self, path: Path) -> None:
        name = str(path.relative_to(self._root))
        self.includes[name] = []
        for quote, target in _INCLUDE.findall(path.read_text()):
            self.includes[name].append(target)
            if (
                quote == '"'
                and not (self._root / target).exists()
                and (path.parent / target).exists()
            ):
                self.relative.append((name, target))

    def reached(self, source: str) -> Iterator[list[str]]:
        """A chain of includes from `source` to each header it reaches, the source first."""
        seen = {source}
        chains = [[source]]
        while chains:
            chain = chains.pop()
            for target in self.includes.get(chain[-1], ()):
                if target not in seen:
                    seen.add(target)
                    chains.append([*chain, target])
                    yield [*chain, target]


def folder_of(path: str) -> str:
    return path.rpartition("/")[0] + "/"


def folder_violations(graph: IncludeGraph) -> list[str]:
    """Includes of folders that BELOW does not allow, and folders with more rooms than MAX_ROOMS."""
    found = []
    rooms: dict[str, set[str]] = {}
    for source, targets in graph.includes.items():
        folder = folder_of(source)
        rooms.setdefault(folder, set()).add(source.rpartition(".")[0])
        if folder not in BELOW:
            continue
        for target in targets:
            other = folder_of(target)
            if target in graph.includes and other not in (folder, *BELOW[folder]):
                found.append(f"{folder} may not include {other}: {source} -> {target}")
    found += [
        f"{folder} has {len(names)} rooms, more than {MAX_ROOMS}"
        for folder, names in rooms.items()
        if len(names) > MAX_ROOMS and not folder.startswith("tests/")
    ]
    return found


def violations(root: Path) -> list[str]:
    """Every breach of RULES, and what would blind them, as text."""
    graph = IncludeGraph(root)
    found = [
        f"{source} includes {target!r} relative to itself: write the path from the root"
        for source, target in graph.relative
    ]
    found += folder_violations(graph)
    for source in graph.includes:
        rules = [rule for rule in RULES if rule.sources(source) and not rule.allowed(source)]
        reached = list(graph.reached(source))
        for rule in rules:
            found += [
                f"{rule.name}: {' -> '.join(chain)}"
                for chain in reached
                if rule.forbidden(chain[-1])
            ]
        # LibTorch ships its own, older protobuf headers: no file compiles correctly with both.
        seen_torch = [chain for chain in reached if torch(chain[-1])]
        seen_protobuf = [chain for chain in reached if either(grpc, protobuf)(chain[-1])]
        if seen_torch and seen_protobuf:
            found.append(
                "no file sees both torch and protobuf: "
                f"{' -> '.join(seen_torch[0])} and {' -> '.join(seen_protobuf[0])}"
            )
    return found
