from pathlib import Path

import pytest
from include_graph import IncludeGraph, violations

ROOT = Path(__file__).resolve().parents[2]

CLEAN = {
    "base/clock.h": "",
    "model/executor.h": '#include "model/diffusion/solver_step.h"\n#include <vector>\n',
    "model/diffusion/solver_step.h": "",
    "model/execution/options.h": '#include "model/executor.h"\n',
    "model/execution/options.cc": (
        '#include <torch/torch.h>\n#include "model/execution/options.h"\n'
    ),
    "server/engine/engine.h": '#include "model/executor.h"\n',
    "server/request/resolver.cc": '#include "skipstream/v1/image_generation.pb.h"\n',
    "server/rpc/service.cc": (
        '#include <grpcpp/grpcpp.h>\n#include "server/engine/engine.h"\n'
        '#include "skipstream/v1/image_generation.grpc.pb.h"\n'
    ),
    "server/startup/main.cc": '#include <CLI/CLI.hpp>\n#include "model/execution/options.h"\n',
    "client/cc/client.cc": '#include "skipstream/v1/image_generation.grpc.pb.h"\n',
    "client/cli/main.cc": "#include <CLI/CLI.hpp>\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_project_keeps_its_layers() -> None:
    assert violations(ROOT) == []


def test_the_checker_reads_the_project() -> None:
    graph = IncludeGraph(ROOT)
    for folder in (
        "model/diffusion/",
        "model/execution/",
        "server/engine/",
        "server/rpc/",
        "client/",
    ):
        assert any(name.startswith(folder) for name in graph.includes), folder
    chains = {chain[-1] for chain in graph.reached("model/executor.h")}
    assert "model/diffusion/solver_step.h" in chains


def test_a_clean_tree_passes(tmp_path: Path) -> None:
    assert violations(tree(tmp_path, CLEAN)) == []


@pytest.mark.parametrize(
    ("file", "include", "message"),
    [
        ("model/diffusion/solver_step.h", "<torch/torch.h>", "sees none"),
        ("model/diffusion/heun.cc", '"google/protobuf/message.h"', "neither gRPC nor protobuf"),
        ("server/engine/engine.cc", "<grpcpp/grpcpp.h>", "neither gRPC nor protobuf"),
        ("server/engine/engine.cc", '"skipstream/v1/image_generation.pb.h"', "nor protobuf"),
        ("server/request/resolver.cc", "<grpcpp/grpcpp.h>", "protobuf, not gRPC"),
        ("server/generation/a.cc", '"grpcpp/support/status.h"', "protobuf, not gRPC"),
        ("server/rpc/a.cc", "<ATen/ATen.h>", "sees none"),
        ("base/a.cc", '"client/cc/client.cc"', "base/ may not include"),
        ("base/a.cc", '"model/executor.h"', "base/ may not include"),
        ("model/execution/a.cc", "<google/protobuf/message.h>", "neither gRPC nor protobuf"),
        ("model/execution/a.cc", '"server/engine/engine.h"', "model/ knows nothing"),
        ("model/diffusion/a.cc", '"model/execution/options.h"', "may not include"),
        ("server/engine/a.cc", '"server/rpc/service.cc"', "server/engine/ may not include"),
        ("server/rpc/a.cc", '"model/execution/options.h"', "only main"),
        ("client/cli/a.cc", '"server/engine/engine.h"', "only the API"),
        ("client/cc/a.cc", '"model/executor.h"', "only the API"),
        ("server/engine/a.cc", '"client/cc/client.cc"', "no client"),
        ("server/engine/a.cc", '"tests/testing/fake_clock.h"', "includes tests"),
        ("server/engine/a.cc", "<CLI/CLI.hpp>", "flags"),
        ("client/cc/a.cc", '"absl/flags/flag.h"', "flags"),
        ("server/rpc/a.cc", "<boost/asio.hpp>", "only the HTTP server"),
    ],
)
def test_a_direct_breach_is_found(tmp_path: Path, file: str, include: str, message: str) -> None:
    files = CLEAN | {file: f"{CLEAN.get(file, '')}#include {include}\n"}
    found = violations(tree(tmp_path, files))
    assert any(message in line and file in line for line in found), found


def test_a_breach_through_another_header_is_found_with_its_chain(tmp_path: Path) -> None:
    files = CLEAN | {
        "server/rpc/service.cc": '#include "server/rpc/helper.h"\n',
        "server/rpc/helper.h": "  #  include <c10/core/Device.h>\n",
    }
    found = violations(tree(tmp_path, files))
    chain = "server/rpc/service.cc -> server/rpc/helper.h -> c10/core/Device.h"
    assert any(chain in line for line in found), found


def test_a_file_that_sees_torch_and_protobuf_is_found_wherever_it_is(tmp_path: Path) -> None:
    both = "#include <torch/torch.h>\n#include <google/protobuf/message.h>\n"
    found = violations(tree(tmp_path, CLEAN | {"tools/a.cc": both}))
    assert any("both torch and protobuf" in line for line in found), found


def test_an_include_relative_to_the_file_is_found(tmp_path: Path) -> None:
    files = CLEAN | {"server/engine/a.cc": '#include "engine.h"\n'}
    assert any("relative" in line for line in violations(tree(tmp_path, files)))


def test_cycles_end(tmp_path: Path) -> None:
    files = {"model/a.h": '#include "model/b.h"\n', "model/b.h": '#include "model/a.h"\n'}
    assert violations(tree(tmp_path, files)) == []


def test_a_folder_with_too_many_rooms_is_found(tmp_path: Path) -> None:
    files = {f"server/rpc/room{i}{end}": "" for i in range(21) for end in (".h", ".cc")}
    assert any("22 rooms" in line for line in violations(tree(tmp_path, CLEAN | files)))
