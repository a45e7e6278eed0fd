from pathlib import Path

import pytest
from include_graph import IncludeGraph, violations

ROOT = Path(__file__).resolve().parents[2]

CLEAN = {
    "model/step_executor.h": '#include "model/sampler/solver_step.h"\n#include <vector>\n',
    "model/sampler/solver_step.h": "",
    "model/torch/torch_executor.h": '#include "model/step_executor.h"\n',
    "model/torch/torch_executor.cc": (
        '#include <torch/torch.h>\n#include "model/torch/torch_executor.h"\n'
    ),
    "server/engine/engine.h": '#include "model/step_executor.h"\n',
    "server/transport/service.cc": (
        '#include <grpcpp/grpcpp.h>\n#include "server/engine/engine.h"\n'
        '#include "skipstream/v1/image_generation.grpc.pb.h"\n'
    ),
    "server/main.cc": '#include <CLI/CLI.hpp>\n#include "model/torch/torch_executor.h"\n',
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
        "model/sampler/",
        "model/torch/",
        "server/engine/",
        "server/transport/",
        "client/",
    ):
        assert any(name.startswith(folder) for name in graph.includes), folder
    chains = {chain[-1] for chain in graph.reached("model/step_executor.h")}
    assert "model/sampler/solver_step.h" in chains


def test_a_clean_tree_passes(tmp_path: Path) -> None:
    assert violations(tree(tmp_path, CLEAN)) == []


@pytest.mark.parametrize(
    ("file", "include", "message"),
    [
        ("model/sampler/solver_step.h", "<torch/torch.h>", "the seam headers"),
        ("model/sampler/heun.cc", '"google/protobuf/message.h"', "the seam headers"),
        ("server/engine/engine.cc", "<grpcpp/grpcpp.h>", "the seam headers"),
        ("server/engine/engine.cc", '"skipstream/v1/image_generation.pb.h"', "the seam headers"),
        ("server/transport/a.cc", "<ATen/ATen.h>", "the server's layers"),
        ("model/torch/a.cc", "<google/protobuf/message.h>", "the network's layers"),
        ("base/a.cc", '"client/cc/client.h"', "base/ stands alone"),
        ("model/torch/a.cc", '"server/engine/engine.h"', "model/ knows nothing"),
        ("model/sampler/a.cc", '"model/torch/torch_executor.h"', "stands alone"),
        ("server/engine/a.cc", '"server/transport/service.h"', "no transport"),
        ("server/transport/a.cc", '"model/torch/torch_executor.h"', "only main"),
        ("client/cli/a.cc", '"server/engine/engine.h"', "only the API"),
        ("client/cc/a.cc", '"model/network_info.h"', "only the API"),
        ("server/engine/a.cc", '"client/cc/client.h"', "no client"),
        ("server/engine/a.cc", '"tests/testing/fake_clock.h"', "includes tests"),
        ("server/engine/a.cc", "<CLI/CLI.hpp>", "flags"),
        ("client/cc/a.cc", '"absl/flags/flag.h"', "flags"),
        ("server/transport/a.cc", "<boost/asio.hpp>", "only the HTTP server"),
        ("server/net/a.cc", '"server/metrics/metrics.h"', "server/net stands alone"),
    ],
)
def test_a_direct_breach_is_found(tmp_path: Path, file: str, include: str, message: str) -> None:
    files = CLEAN | {file: f"{CLEAN.get(file, '')}#include {include}\n"}
    found = violations(tree(tmp_path, files))
    assert any(message in line and file in line for line in found), found


def test_a_breach_through_another_header_is_found_with_its_chain(tmp_path: Path) -> None:
    files = CLEAN | {
        "server/transport/service.cc": '#include "server/transport/helper.h"\n',
        "server/transport/helper.h": "  #  include <c10/core/Device.h>\n",
    }
    found = violations(tree(tmp_path, files))
    chain = "server/transport/service.cc -> server/transport/helper.h -> c10/core/Device.h"
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
