# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens and answers: the same question always gets the same answer."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

VOCABULARY = 151_643
_TOKEN = re.compile(r"<\|\w+\|>|\s*\w{1,4}|\s*[^\w\s]|\s+")


def tokenize(text: str) -> list[str]:
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    return zlib.crc32(token.encode()) % VOCABULARY


def chat_prompt(messages: Sequence[object]) -> str:
    """The template that most of the fleet's models have."""
    parts = []
    for message in messages:
        fields = message if isinstance(message, dict) else {}
        parts.append(f"<|im_start|>{fields.get('role', 'user')}\n{_text(fields.get('content'))}<|im_end|>\n")
    return "".join([*parts, "<|im_start|>assistant\n"])


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def answer(model: str, prompt: str) -> list[str]:
    number = zlib.crc32(prompt.encode()) % 1000
    return tokenize(f"Hello! This is {model} in the lab, and my answer number {number} to you is always the same.")


def embedding(text: str, size: int = 8) -> list[float]:
    return [round(zlib.crc32(f"{index}{text}".encode()) / 2**31 - 1, 6) for index in range(size)]
