# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of the stub that a server shows only by killing it: requests, texts, models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.registry.vllm.console import Console
from lab.registry.vllm.failures import StartFailure
from lab.registry.vllm.generation import answer, chat_prompt, embedding, tokenize
from lab.registry.vllm.models import Models, check_weights, read_folder, write_folder
from lab.registry.vllm.schema import ApiError, check_chat, check_length, check_sampling, parse_body
from lab.registry.vllm.settings import compile_cache, times
from lab.registry.vllm.switches import Timeline, is_on, time_scale

CHAT = "/v1/chat/completions"
JSON = "application/json"


@pytest.mark.parametrize(
    ("fields", "param", "kind"),
    [
        ({"max_tokens": "16"}, "body.max_tokens", "int_type"),
        ({"max_tokens": True}, "body.max_tokens", "int_type"),
        ({"temperature": "hot"}, "body.temperature", "float_type"),
    ],
)
def test_numbers_are_numbers(fields: dict[str, object], param: str, kind: str) -> None:
    with pytest.raises(ApiError) as error:
        check_chat(CHAT, {"messages": [], **fields})
    assert error.value.body["error"]["param"] == param
    assert f"'type': '{kind}'" in str(error.value)


def test_top_p() -> None:
    with pytest.raises(ApiError, match=r"top_p must be in \(0, 1\], got 2.0."):
        check_sampling({"top_p": 2})
    check_sampling({"top_p": 1, "temperature": 2})


def test_length_without_a_wish_is_what_is_left() -> None:
    assert check_length({}, 48, 2048) == 2000
    assert check_length({"max_completion_tokens": 7}, 48, 2048) == 7
    assert check_length({}, 48, 2048, 16) == 16
    assert check_length({"max_tokens": 2000}, 48, 2048) == 2000


def test_prompt_that_alone_is_too_long() -> None:
    with pytest.raises(ApiError, match="requested 0 output tokens and your prompt contains at least 2049 input tokens"):
        check_length({}, 2049, 2048)


def test_unknown_handlers_have_a_place_as_well() -> None:
    with pytest.raises(ApiError, match="POST /tokenize"):
        parse_body("/tokenize", "", b"")


def test_json_is_any_object() -> None:
    assert parse_body(CHAT, f"{JSON}; charset=utf-8", b'{"a": 1}') == {"a": 1}


def test_prompt_of_a_chat() -> None:
    messages = [{"role": "system", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}, {"role": "user"}]
    assert chat_prompt(messages) == (
        "<|im_start|>system\na\nb<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tokens_make_up_the_text() -> None:
    text = "Hello, world! <|im_end|>\nÜber  alles"
    assert "".join(tokenize(text)) == text
    assert answer("m", "a") == answer("m", "a")
    assert answer("m", "a") != answer("m", "b")


def test_embedding_is_the_same_each_time() -> None:
    assert embedding("a") == embedding("a")
    assert embedding("a") != embedding("b")
    assert all(-1 <= value <= 1 for value in embedding("a"))


def test_switches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLLM_LAB_FAULTS", "abort,engine-dies")
    monkeypatch.setenv("VLLM_LAB_FOLDER", str(tmp_path))
    monkeypatch.delenv("VLLM_LAB_TIME_SCALE", raising=False)
    (tmp_path / "no-listen").touch()
    found = [is_on(name) for name in ("abort", "engine-dies", "no-listen", "engine")]
    assert found == [True, True, True, False]
    assert time_scale() == 0.075


def test_start_is_short_with_what_was_compiled(tmp_path: Path) -> None:
    environ = {"VLLM_CACHE_ROOT": str(tmp_path)}
    assert (times(False, environ).ready, times(True, environ).ready) == (63.4, 39.4)
    compile_cache(environ).mkdir()
    assert times(False, environ).ready == 36.1
    assert compile_cache({"HOME": "/root"}) == Path("/root/.cache/vllm/torch_compile_cache")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "header too small"),
        ((100).to_bytes(8, "little") + b"{}", "invalid header length"),
        ((2).to_bytes(8, "little") + b"{}x", "incomplete metadata, file not fully covered"),
    ],
)
def test_weights_that_are_broken(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(StartFailure) as failure:
        check_weights(tmp_path)
    assert failure.value.printed.endswith(f"SafetensorError: Error while deserializing header: {text}")


def test_weights_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match="Cannot find any model weights with"):
        check_weights(tmp_path)


def test_model_with_a_template_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", chat_template=False)
    assert not read_folder(tmp_path / "m", "m").chat_template
    (tmp_path / "m/chat_template.jinja").touch()
    found = read_folder(tmp_path / "m", "m")
    assert found.chat_template
    assert (found.heads, found.max_position, found.bytes_per_token) == (4, 4096, 1024)


def test_cache_with_another_model_in_it(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--own--model/snapshots/abc"
    write_folder(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc")
    for offline, root in (("0", "own/model"), ("1", str(snapshot))):
        environ = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": offline}
        assert Models(environ, None, Console(), Timeline(0)).find("own/model").root == root


def test_cache_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    environ = {"HF_HOME": str(tmp_path / "file")}
    assert Models(environ, None, Console("APIServer"), Timeline(0)).find("Qwen/Qwen3-0.6B").heads == 16
    assert "Will ignore error and continue." in capfd.readouterr().out


def test_downloaded_config_says_what_the_table_says(tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path)}
    models = Models(environ, None, Console(), Timeline(0))
    known = models.find("Qwen/Qwen3-0.6B")
    config = next((tmp_path / "hub").rglob("config.json"))
    assert json.loads(config.read_text())["num_attention_heads"] == known.heads
    offline = Models(environ | {"HF_HUB_OFFLINE": "1"}, None, Console(), Timeline(0)).find("Qwen/Qwen3-0.6B")
    assert (offline.heads, offline.root) == (known.heads, str(config.parent))
