# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The routes a server of vLLM 0.25 says that it has, in its order."""

from __future__ import annotations

COMMON = (
    ("/openapi.json", ("HEAD", "GET")),
    ("/docs", ("HEAD", "GET")),
    ("/docs/oauth2-redirect", ("HEAD", "GET")),
    ("/redoc", ("HEAD", "GET")),
    ("/load", ("GET",)),
    ("/version", ("GET",)),
    ("/health", ("GET",)),
    ("/metrics", ("GET",)),
    ("/tokenize", ("POST",)),
    ("/detokenize", ("POST",)),
    ("/v1/models", ("GET",)),
    ("/ping", ("GET",)),
    ("/ping", ("POST",)),
    ("/invocations", ("POST",)),
)
GENERATE = (
    ("/v1/chat/completions", ("POST",)),
    ("/v1/chat/completions/batch", ("POST",)),
    ("/v1/responses", ("POST",)),
    ("/v1/responses/{response_id}", ("GET",)),
    ("/v1/responses/{response_id}/cancel", ("POST",)),
    ("/v1/completions", ("POST",)),
    ("/v1/messages", ("POST",)),
    ("/v1/messages/count_tokens", ("POST",)),
    ("/generative_scoring", ("POST",)),
    ("/scale_elastic_ep", ("POST",)),
    ("/is_scaling_elastic_ep", ("POST",)),
    ("/v1/chat/completions/render", ("POST",)),
    ("/v1/completions/render", ("POST",)),
    ("/v1/chat/completions/derender", ("POST",)),
    ("/v1/completions/derender", ("POST",)),
    ("/inference/v1/generate", ("POST",)),
)
POOLING = (
    ("/pooling", ("POST",)),
    ("/v1/embeddings", ("POST",)),
    ("/scale_elastic_ep", ("POST",)),
    ("/is_scaling_elastic_ep", ("POST",)),
)


def routes(pooling: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return COMMON + (POOLING if pooling else GENERATE)


def methods(pooling: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, allowed in routes(pooling):
        found.setdefault(path, []).extend(allowed)
    return found
