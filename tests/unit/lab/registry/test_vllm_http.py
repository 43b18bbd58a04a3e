# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of facts/vllm.md, section 2, row by row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .conftest import Vllm, Vllms

HEADERS = {"date", "server", "content-length", "content-type", "vary"}
CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "Hello"}]


def error(code: int, kind: str, param: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def test_health_is_empty(tiny: Vllm) -> None:
    reply = tiny.ask("GET", "/health")
    assert (reply.code, reply.body) == (200, b"")
    assert reply.headers.keys() == HEADERS - {"content-type"}
    assert (reply.headers["server"], reply.headers["content-length"]) == ("uvicorn", "0")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("HEAD", "/health", "GET"),
        ("POST", "/health", "GET"),
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
    ],
)
def test_wrong_method(tiny: Vllm, method: str, path: str, allow: str) -> None:
    reply = tiny.ask(method, path)
    assert (reply.code, reply.headers["allow"]) == (405, allow)
    assert reply.body == (b"" if method == "HEAD" else b'{"detail":"Method Not Allowed"}')


def test_slash_too_much_is_redirected(tiny: Vllm) -> None:
    reply = tiny.ask("GET", "/health/")
    assert (reply.code, reply.headers["location"]) == (307, f"http://127.0.0.1:{tiny.port}/health")


@pytest.mark.parametrize(
    ("path", "body"),
    [("/ping", b""), ("/version", b'{"version":"0.25.1"}'), ("/load", b'{"server_load":0}')],
)
def test_simple(tiny: Vllm, path: str, body: bytes) -> None:
    reply = tiny.ask("GET", path)
    assert (reply.code, reply.body) == (200, body)


def test_models(tiny: Vllm) -> None:
    reply = tiny.ask("GET", "/v1/models")
    assert reply.code == 200
    assert reply.headers.keys() == HEADERS
    assert [entry["id"] for entry in reply.json["data"]] == ["tiny", "second"]
    root = reply.json["data"][0]["root"]
    text = re.sub(r'"created":\d{10}', '"created":0', reply.body.decode())
    text = re.sub(r"modelperm-[0-9a-f]{16}", "modelperm-0", text)
    assert root.endswith("/model")
    assert (
        text
        == '{"object":"list","data":['
        + ",".join(
            f'{{"id":"{name}","object":"model","created":0,"owned_by":"vllm","root":"{root}","parent":null,"max_model_len":2048,'
            '"permission":[{"id":"modelperm-0","object":"model_permission","created":0,"allow_create_engine":false,'
            '"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,"allow_view":true,'
            '"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}]}'
            for name in ("tiny", "second")
        )
        + "]}"
    )


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models/tiny"), ("GET", "/"), ("GET", "/nope"), ("POST", "/v1/embeddings")]
)
def test_no_such_route(tiny: Vllm, method: str, path: str) -> None:
    reply = tiny.ask(method, path, {} if method == "POST" else None)
    assert (reply.code, reply.body) == (404, b'{"detail":"Not Found"}')


def test_documentation(tiny: Vllm) -> None:
    assert tiny.ask("GET", "/docs").headers["content-type"] == "text/html; charset=utf-8"
    assert CHAT in tiny.ask("GET", "/openapi.json").json["paths"]


def test_metrics(tiny: Vllm) -> None:
    reply = tiny.ask("GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    series = {line.split("{")[0].split(" ")[0] for line in reply.body.decode().splitlines() if line[0] != "#"}
    assert series >= {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:cache_config_info",
        "vllm:engine_sleep_state",
        "http_requests_total",
    }


def test_chat(tiny: Vllm) -> None:
    reply = tiny.chat(model="tiny", max_tokens=16, temperature=0)
    assert reply.code == 200
    assert reply.headers.keys() == HEADERS
    value = reply.json
    content = value["choices"][0]["message"]["content"]
    prompt = value["usage"]["prompt_tokens"]
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{16}", value["id"])
    assert content
    assert prompt > 0
    assert reply.body.decode() == (
        f'{{"id":"{value["id"]}","object":"chat.completion","created":{value["created"]},"model":"tiny","choices":[{{"index":0,'
        f'"message":{{"role":"assistant","content":"{content}","refusal":null,"annotations":null,"audio":null,'
        '"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"length","stop_reason":null,'
        '"token_ids":null,"routed_experts":null}],"service_tier":null,"system_fingerprint":"vllm-0.25.1-nohash",'
        f'"usage":{{"prompt_tokens":{prompt},"total_tokens":{prompt + 16},"completion_tokens":16,'
        '"prompt_tokens_details":null},"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,'
        '"kv_transfer_params":null,"metrics":null}'
    )


def test_the_same_question_gets_the_same_answer(tiny: Vllm) -> None:
    contents = {tiny.chat().json["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(contents) == 1
    assert tiny.chat().json["choices"][0]["finish_reason"] == "stop"


def test_completion(tiny: Vllm) -> None:
    value = tiny.ask("POST", "/v1/completions", {"model": "tiny", "prompt": "Once"}).json
    assert re.fullmatch(r"cmpl-[0-9a-f]{16}", value["id"])
    assert (value["object"], value["usage"]["completion_tokens"]) == ("text_completion", 16)
    assert value["choices"][0]["text"]


@pytest.mark.parametrize("with_usage", [False, True])
def test_stream(tiny: Vllm, with_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    reply = tiny.chat(stream=True, max_tokens=3, **options)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in reply.headers
    events = [event.removeprefix("data: ") for event in reply.body.decode().split("\n\n")]
    assert events[-2:] == ["[DONE]", ""]
    chunks = [json.loads(event) for event in events[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    if with_usage:
        assert chunks[-1]["choices"] == []
        assert chunks.pop()["usage"]["completion_tokens"] == 3
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert [index for index, chunk in enumerate(chunks) if "system_fingerprint" in chunk] == [len(chunks) - 1]


@pytest.mark.parametrize("model", [None, "", "second"])
def test_reply_is_the_first_name(tiny: Vllm, model: str | None) -> None:
    assert tiny.chat(**({} if model is None else {"model": model})).json["model"] == "tiny"


def test_wrong_model(tiny: Vllm) -> None:
    reply = tiny.chat(model="wrong")
    assert reply.code == 404
    assert reply.json == error(404, "NotFoundError", "model", "The model `wrong` does not exist.")
    path = tiny.ask("GET", "/v1/models").json["data"][0]["root"]
    assert tiny.chat(model=path).code == 404


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        (
            {"max_tokens": 5000},
            "max_tokens",
            (
                "max_tokens=5000 cannot be greater than max_model_len=max_total_tokens=2048. "
                "Please request fewer output tokens. (parameter=max_tokens, value=5000)"
            ),
        ),
        (
            {"max_tokens": 0},
            "max_tokens",
            "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
        ),
        (
            {"max_tokens": -1},
            "max_tokens",
            "max_tokens must be at least 1, got -1. (parameter=max_tokens, value=-1)",
        ),
        (
            {"temperature": -1},
            "temperature",
            "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)",
        ),
        (
            {"temperature": 3},
            "temperature",
            "temperature must be in [0, 2], got 3.0. (parameter=temperature, value=3.0)",
        ),
        (
            {"messages": [{"role": "user", "content": "word " * 2100}], "max_tokens": 16},
            "input_tokens",
            (
                "This model's maximum context length is 2048 tokens. However, you requested 16 output tokens and your "
                "prompt contains at least 2033 input tokens, for a total of at least 2049 tokens. Please reduce the "
                "length of "
                "the input prompt or the number of requested output tokens. (parameter=input_tokens, value=2033)"
            ),
        ),
        (
            {"messages": []},
            None,
            "Cannot apply chat template to an empty conversation. Provide at least one message.",
        ),
    ],
)
def test_refused_values(tiny: Vllm, fields: dict[str, object], param: str | None, message: str) -> None:
    reply = tiny.chat(**fields)
    assert (reply.code, reply.json) == (400, error(400, "BadRequestError", param, message))
    assert ("vary" in reply.headers) == (param is not None)


@pytest.mark.parametrize(
    ("body", "headers", "param", "begin"),
    [
        (
            b'{"messages": [{"role": "user", ',
            {"Content_Type": "application/json"},
            "body.31",
            "1 validation error:\n  {'type': 'json_invalid', 'loc': ('body', 31), 'msg': 'JSON decode error', ",
        ),
        (
            b"",
            {"Content_Type": "application/json"},
            "body",
            "1 validation error:\n  {'type': 'missing', 'loc': ('body',), ",
        ),
        (
            b"{}",
            {"Content_Type": "text/plain"},
            None,
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
        ),
        (b"{}", {}, None, "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"),
        (
            b"{}",
            {"Content_Type": "application/json"},
            "body.messages",
            "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required', ",
        ),
        (
            b'{"messages": "Hello"}',
            {"Content_Type": "application/json"},
            "body.messages",
            (
                "1 validation error:\n  {'type': 'list_type', 'loc': ('body', 'messages'), "
                "'msg': 'Input should be a valid list', "
            ),
        ),
    ],
)
def test_schema(tiny: Vllm, body: bytes, headers: dict[str, str], param: str | None, begin: str) -> None:
    reply = tiny.ask("POST", CHAT, body, **headers)
    assert reply.code == 400
    found = reply.json["error"]
    assert (found["type"], found["param"], found["code"]) == ("Bad Request", param, 400)
    assert found["message"].startswith(begin)


def test_body_that_is_a_list(tiny: Vllm) -> None:
    reply = tiny.ask("POST", CHAT, [1])
    assert (reply.code, reply.json) == (
        500,
        error(500, "InternalServerError", None, "'list' object has no attribute 'get'"),
    )
    assert "vary" not in reply.headers


@pytest.mark.parametrize("fields", [{"messages": [{"role": "user"}]}, {"foo": 1}, {"model": None}])
def test_accepted(tiny: Vllm, fields: dict[str, object]) -> None:
    assert tiny.chat(**fields).code == 200


def test_tokenize(tiny: Vllm) -> None:
    value = tiny.ask("POST", "/tokenize", {"prompt": "one two"}).json
    assert (value["count"], value["max_model_len"], value["token_strs"]) == (len(value["tokens"]), 2048, None)


def test_without_chat_template(vllms: Vllms) -> None:
    (vllms.model / "tokenizer_config.json").unlink()
    server = vllms.serve().ready()
    reply = server.chat()
    text = (
        "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if "
        "the tokenizer does not define one."
    )
    assert (reply.code, reply.json) == (400, error(400, "BadRequestError", None, text))
    assert "vary" not in reply.headers
    assert server.ask("POST", "/v1/completions", {"prompt": "Once"}).code == 200


@pytest.mark.parametrize("by_environment", [False, True])
def test_api_key(vllms: Vllms, by_environment: bool) -> None:
    argv = [] if by_environment else ["--api-key", "sekret"]
    server = vllms.serve(*argv, **({"VLLM_API_KEY": "sekret"} if by_environment else {})).ready()
    for value in (None, "Bearer wrong", "sekret", "Basic sekret", "Bearer  sekret"):
        reply = server.ask("GET", "/v1/models", **({} if value is None else {"Authorization": value}))
        assert (reply.code, reply.body) == (401, b'{"error":"Unauthorized"}'), value
        assert reply.headers.keys() == HEADERS - {"vary"}
    for value in ("Bearer sekret", "bearer sekret"):
        assert server.ask("GET", "/v1/models", Authorization=value).code == 200
    for path in ("/v1/nope", "/v2/rerank", "/inference/v1/generate"):
        assert server.ask("GET", path).code == 401
    for path in ("/health", "/ping", "/version", "/metrics"):
        assert server.ask("GET", path).code == 200
    for path in ("/tokenize", "/invocations"):
        assert server.ask("POST", path, {"messages": USER}).code == 200
    # By the option it is in the log, in clear: the reason to give it by the environment.
    assert ("sekret" in server.text) != by_environment
