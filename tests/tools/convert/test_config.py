"""What the converter takes for a configuration is what the server loads.

configs.json: [preconditioning, changes to the base, what the refusal names or null] each. The
server's side of it is loader_fuzz_test.cc, which reads the same list.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from skipstream_convert.errors import ConvertError
from skipstream_convert.network import make_network

LIST = json.loads(Path(__file__).with_name("configs.json").read_text())


@pytest.mark.parametrize(("preconditioning", "changes", "refused"), LIST["configs"], ids=str)
def test_is_taken_or_refused_as_by_the_server(
    preconditioning: str, changes: dict[str, Any], refused: str | None
) -> None:
    config = LIST["base"] | changes
    if refused is None:
        kept = make_network(preconditioning, config).config
        left_out = {"dropout", "use_fp16"} | (
            {"sigma_min"} if config.get("sigma_min") == 0 else set()
        )
        assert {key: kept[key] for key in config if key not in left_out} == {
            key: value for key, value in config.items() if key not in left_out
        }
    else:
        with pytest.raises(ConvertError) as caught:
            make_network(preconditioning, config)
        assert refused in str(caught.value)
