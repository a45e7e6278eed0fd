"""The include graph of the C++ sources and the layers it must respect (docs/architecture.md)."""

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
    """What `sources` may not include, directly or through any of our own headers."""

    name: str
    sources: Matcher
    forbidden: Matcher
    allowed: Matcher = lambda path: False


RULES = (
    Rule(
        "the seam headers, the samplers and the engine know neither torch nor gRPC nor protobuf",
        under("model/sampler/", "model/step_executor.h", "model/network_info.h", "server/engine/"),
        either(torch, grpc, protobuf),
    ),
    Rule("the server's layers see no torch header", under("server/"), torch),
    Rule(
        "the network's layers see neither gRPC nor protobuf",
        under("model/"),
        either(grpc, protobuf),
    ),
    Rule(
        "base/ stands alone",
        under("base/"),
        either(torch, grpc, protobuf, flags, under("model/", "server/", "client/")),
    ),
    Rule(
        "only the HTTP server of the metrics sees Boost",
        lambda path: True,
        under("boost/"),
        allowed=under("server/metrics/http_server.cc"),
    ),
    Rule(
        "server/net stands alone",
        under("server/net/"),
        either(
            torch,
            grpc,
            protobuf,
            under(
                "model/", "server/engine/", "server/log/", "server/metrics/", "server/transport/"
            ),
        ),
    ),
    Rule("model/ knows nothing above it", under("model/"), under("server/", "client/")),
    Rule(
        "model/sampler stands alone",
        under("model/sampler/"),
        under("model/torch/", "model/network/"),
    ),
    Rule(
        "the CPU kernels stand alone",
        under("model/cpu/"),
        either(torch, under("absl/", "model/network/", "model/torch/", "model/sampler/")),
    ),
    Rule(
        "what every executor shares knows none of them, and devices know no CUDA",
        under("model/torch/", "model/device/"),
        under("model/cuda/"),
    ),
    Rule("the engine knows no transport", under("server/engine/"), under("server/transport/")),
    Rule(
        "only main sees the implementation of the executor",
        under("server/"),
        under("model/torch/", "model/network/", "model/device/", "model/cuda/"),
        allowed=under("server/main.cc"),
    ),
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
        allowed=under("server/main.cc", "server/flags."),
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


def violations(root: Path) -> list[str]:
    """Every breach of RULES, and what would blind them, as text."""
    graph = IncludeGraph(root)
    found = [
        f"{source} includes {target!r} relative to itself: write the path from the root"
        for source, target in graph.relative
    ]
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
