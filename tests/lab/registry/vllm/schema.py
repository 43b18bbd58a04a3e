# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What requests have to look like, and the two shapes of what is answered to those that do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

PACKAGES = "/usr/local/lib/python3.12/dist-packages/vllm/entrypoints/openai"
HANDLERS = {
    "/v1/chat/completions": f'File "{PACKAGES}/chat_completion/api_router.py", line 47, in create_chat_completion',
    "/v1/completions": f'File "{PACKAGES}/completion/api_router.py", line 43, in create_completion',
}


class ApiError(Exception):
    """{"error": {…}}. `vary` is on every reply but a few that handlers make themselves."""

    def __init__(self, code: int, kind: str, message: str, param: str | None = None, *, vary: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.vary = vary
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def parse_body(path: str, content_type: str, body: bytes) -> dict[str, Any]:
    if content_type.lower().split(";", 1)[0] != "application/json":
        _refuse(path, "Unsupported Media Type: Only 'application/json' is allowed")
    if not body:
        _refuse(path, {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None})
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        _refuse(
            path,
            {
                "type": "json_invalid",
                "loc": ("body", error.pos),
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": error.msg},
            },
        )
    if not isinstance(value, dict):
        raise ApiError(
            500, "InternalServerError", f"'{type(value).__name__}' object has no attribute 'get'", vary=False
        )
    return value


def check_chat(path: str, body: Mapping[str, Any]) -> None:
    if "messages" not in body:
        _refuse(path, {"type": "missing", "loc": ("body", "messages"), "msg": "Field required", "input": dict(body)})
    if not isinstance(body["messages"], list):
        _refuse(
            path,
            {
                "type": "list_type",
                "loc": ("body", "messages"),
                "msg": "Input should be a valid list",
                "input": body["messages"],
            },
        )
    _check_numbers(path, body)


def check_completion(path: str, body: Mapping[str, Any]) -> None:
    _check_numbers(path, body)


def check_sampling(body: Mapping[str, Any]) -> None:
    """What vLLM itself refuses, after the schema."""
    temperature = body.get("temperature")
    if temperature is not None and temperature < 0:
        _out_of_range("temperature", float(temperature), f"temperature must be non-negative, got {float(temperature)}.")
    if temperature is not None and temperature > 2:
        _out_of_range("temperature", float(temperature), f"temperature must be in [0, 2], got {float(temperature)}.")
    top_p = body.get("top_p")
    if top_p is not None and not 0 < top_p <= 1:
        _out_of_range("top_p", float(top_p), f"top_p must be in (0, 1], got {float(top_p)}.")


def check_length(body: Mapping[str, Any], prompt_tokens: int, max_model_len: int, default: int | None = None) -> int:
    """How many tokens may be made."""
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    wanted = body.get(name, default)
    if wanted is not None and wanted < 1:
        _out_of_range(name, wanted, f"{name} must be at least 1, got {wanted}.")
    if wanted is not None and wanted > max_model_len:
        _out_of_range(
            name,
            wanted,
            f"{name}={wanted} cannot be greater than max_model_len=max_total_tokens={max_model_len}. Please request "
            "fewer output tokens.",
        )
    output = wanted or 0
    if prompt_tokens + output > max_model_len:
        limit = max_model_len - output + 1
        _out_of_range(
            "input_tokens",
            limit,
            f"This model's maximum context length is {max_model_len} tokens. However, you requested {output} output "
            "tokens and your prompt "
            f"contains at least {limit} input tokens, for a total of at least {max_model_len + 1} tokens. Please "
            "reduce the length of the "
            "input prompt or the number of requested output tokens.",
        )
    return int(wanted or max_model_len - prompt_tokens)


def _check_numbers(path: str, body: Mapping[str, Any]) -> None:
    for name, kind, title in (
        ("max_tokens", int, "integer"),
        ("max_completion_tokens", int, "integer"),
        ("temperature", float, "number"),
        ("top_p", float, "number"),
    ):
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, kind))):
            error = {
                "type": f"{kind.__name__}_type",
                "loc": ("body", name),
                "msg": f"Input should be a valid {title}",
                "input": value,
            }
            _refuse(path, error)


def _out_of_range(name: str, value: object, text: str) -> NoReturn:
    raise ApiError(400, "BadRequestError", f"{text} (parameter={name}, value={value})", name)


def _refuse(path: str, error: Mapping[str, Any] | str) -> NoReturn:
    """FastAPI's RequestValidationError as vLLM passes it on."""
    param = None if isinstance(error, str) else ".".join(str(part) for part in error["loc"])
    where = HANDLERS.get(path, f'File "{PACKAGES}/api_server.py", line 1, in handler')
    raise ApiError(400, "Bad Request", f"1 validation error:\n  {error}\n\n  {where}\n    POST {path}", param)
