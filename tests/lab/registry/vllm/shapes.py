# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Replies of the two kinds of completions, whole and in pieces, field by field as recorded."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from .client import Token


class Shape:
    prefix = ""
    whole_object = ""
    chunk_object = ""

    def __init__(self, model: str, fingerprint: str) -> None:
        self._model = model
        self._fingerprint = fingerprint
        self._id = f"{self.prefix}-{short_id()}"

    def whole(self, text: str, finish: str | None, prompt_tokens: int, tokens: int) -> dict[str, Any]:
        raise NotImplementedError

    def _first(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def _choice(self, text: str, finish: str | None) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, tokens: Iterator[Token], prompt_tokens: int, with_usage: bool) -> Iterator[str]:
        for choice in self._first():
            yield self._event([choice])
        made = 0
        for token in tokens:
            made += bool(token.text)
            yield self._event(
                [self._choice(token.text, token.finish)],
                **({"system_fingerprint": self._fingerprint} if token.finish else {}),
            )
        if with_usage:
            yield self._event([], usage=_usage(prompt_tokens, made))
        yield "data: [DONE]\n\n"

    def _event(self, choices: list[dict[str, Any]], **more: object) -> str:
        chunk = {
            "id": self._id,
            "object": self.chunk_object,
            "created": int(time.time()),
            "model": self._model,
            "choices": choices,
            **more,
        }
        return f"data: {dumps(chunk)}\n\n"


class Chat(Shape):
    prefix = "chatcmpl"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def whole(self, text: str, finish: str | None, prompt_tokens: int, tokens: int) -> dict[str, Any]:
        message = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish,
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }
        return {
            "id": self._id,
            "object": self.whole_object,
            "created": int(time.time()),
            "model": self._model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": self._fingerprint,
            "usage": _usage(prompt_tokens, tokens),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "metrics": None,
        }

    def _first(self) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}]

    def _choice(self, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish, "token_ids": None}


class Text(Shape):
    prefix = "cmpl"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def whole(self, text: str, finish: str | None, prompt_tokens: int, tokens: int) -> dict[str, Any]:
        choice = self._choice(text, finish) | {
            "token_ids": None,
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "routed_experts": None,
        }
        return {
            "id": self._id,
            "object": self.whole_object,
            "created": int(time.time()),
            "model": self._model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": self._fingerprint,
            "usage": _usage(prompt_tokens, tokens),
            "kv_transfer_params": None,
        }

    def _first(self) -> list[dict[str, Any]]:
        return []

    def _choice(self, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish, "stop_reason": None}


def _usage(prompt_tokens: int, tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + tokens,
        "completion_tokens": tokens,
        "prompt_tokens_details": None,
    }


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def short_id() -> str:
    return uuid.uuid4().hex[:16]
