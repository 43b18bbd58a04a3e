# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from lab.registry.vllm.arguments import Exit, parse
from lab.registry.vllm.settings import visible_devices


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["m"], "model", "m"),
        (["--model", "m"], "model", "m"),
        (["--model=m"], "model", "m"),
        (["m"], "served_model_name", ("m",)),
        (["m", "--served-model-name", "a", "b"], "served_model_name", ("a", "b")),
        (["m", "--served_model_name", "a"], "served_model_name", ("a",)),
        (["m", "-tp", "2"], "tensor_parallel_size", 2),
        (["m", "--tensor-parallel-size=4"], "tensor_parallel_size", 4),
        (["m", "--max-model-len", "32k"], "max_model_len", 32000),
        (["m", "--max-model-len", "32K"], "max_model_len", 32768),
        (["m", "--max_model_len=2048"], "max_model_len", 2048),
        (["m"], "gpu_memory_utilization", 0.92),
        (["m", "--gpu-memory-utilization", "0.5"], "gpu_memory_utilization", 0.5),
        (["m"], "port", 8000),
        (["m", "--enforce-eager", "--trust-remote-code"], "enforce_eager", True),
        (["m", "--enforce-eager", "--no-enforce-eager"], "enforce_eager", False),
        (["m", "--api-key", "a"], "api_key", ("a",)),
        (["m", "--runner", "pooling"], "pooling", True),
        (["m", "-O3", "-q", "awq"], "model", "m"),
    ],
)
def test_parse(argv: list[str], field: str, value: object) -> None:
    assert getattr(parse(["serve", *argv]), field) == value
    if argv[0] != "m":
        assert getattr(parse(argv, "api_server.py"), field) == value


def test_non_default_arguments_are_those_that_differ() -> None:
    found = parse(["serve", "--model", "m", "--port", "8000", "-tp", "2", "--api-key", "sekret"])
    assert found.non_default == {"model_tag": "m", "api_key": ["sekret"], "tensor_parallel_size": 2, "model": "m"}
    assert found.model_by_option
    assert not parse(["serve", "m"]).model_by_option


@pytest.mark.parametrize(
    ("argv", "prog", "code", "last"),
    [
        (["serve", "m", "--nope", "x"], "vllm", 2, "vllm: error: unrecognized arguments: --nope x"),
        (["--nope"], "api_server.py", 2, "api_server.py: error: unrecognized arguments: --nope"),
        (["serve", "m", "--port", "x"], "vllm", 2, "vllm serve: error: argument --port: invalid int value: 'x'"),
        (
            ["serve", "m", "--max-model-len", "1.5"],
            "vllm",
            2,
            "vllm serve: error: argument --max-model-len: invalid int value: '1.5'",
        ),
        (["serve", "m", "--model"], "vllm", 2, "vllm serve: error: argument --model: expected one argument"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], argv: list[str], prog: str, code: int, last: str) -> None:
    with pytest.raises(Exit) as end:
        parse(argv, prog)
    assert end.value.code == code
    assert capsys.readouterr().err.splitlines()[-1] == last


@pytest.mark.parametrize("argv", [[], ["--help"], ["serve", "--help"]])
def test_help(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(Exit) as end:
        parse(argv)
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: vllm")


def test_unknown_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as end:
        parse(["nope"])
    assert end.value.code == 2
    assert "invalid choice: 'nope'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "devices"), [(None, (0, 1)), ("", ()), ("1", (1,)), ("1,0", (1, 0)), ("GPU-1234", (0,))]
)
def test_visible_devices(value: str | None, devices: tuple[int, ...]) -> None:
    assert visible_devices(2, value) == devices
