# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the routes answer."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import metrics, switches
from .client import EngineClient, EngineDead, Token
from .failures import ENGINE_DEAD
from .generation import chat_prompt, embedding, token_id, tokenize
from .models import Model
from .routes import methods
from .schema import ApiError, check_chat, check_completion, check_length, check_sampling, parse_body
from .shapes import Chat, Shape, Text, dumps, short_id
from .version import VERSION

NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the "
    "tokenizer "
    "does not define one."
)
COMPLETION_TOKENS = 16


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass
class Reply:
    code: int = 200
    body: bytes = b""
    content_type: str | None = "application/json"
    vary: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    # A stream of server-sent events instead of the body.
    events: Iterator[str] | None = None


class Api:
    def __init__(
        self,
        model: Model,
        names: tuple[str, ...],
        engine: EngineClient,
        *,
        max_model_len: int,
        eager: bool,
        chat_template: bool,
    ) -> None:
        self._model = model
        self._names = names
        self._max_model_len = max_model_len
        self._fingerprint = f"vllm-{VERSION}-{'nohash' if eager else '4ac2d6bc'}"
        self._chat_template = chat_template
        self._engine = engine
        self._requests: dict[tuple[str, str], int] = {}
        self._methods = methods(model.pooling)
        self._handlers: dict[str, Callable[[Request], Reply]] = {
            "/openapi.json": self._openapi,
            "/docs": self._docs,
            "/load": lambda _: _json({"server_load": self._engine.running}),
            "/version": lambda _: _json({"version": VERSION}),
            "/health": self._health,
            "/ping": self._health,
            "/metrics": self._metrics,
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
            "/v1/models": self._models,
            "/invocations": self._invocations,
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._completion,
            "/v1/embeddings": self._embeddings,
        }

    def answer(self, request: Request) -> Reply:
        allowed = self._methods.get(request.path)
        if allowed is None:
            return self._no_route(request)
        if request.method not in allowed:
            order = [method for method in ("GET", "POST") if method in allowed]
            return dataclasses.replace(_json({"detail": "Method Not Allowed"}, 405), headers=(("allow", order[0]),))
        handler = self._handlers.get(request.path)
        if handler is None:
            error = ApiError(501, "NotImplementedError", "The lab's stand-in of vLLM does not imitate this route.")
            return _json(error.body, 501)
        key = (request.method, request.path)
        self._requests[key] = self._requests.get(key, 0) + 1
        try:
            return handler(request)
        except ApiError as error:
            return dataclasses.replace(_json(error.body, error.code), vary=error.vary)
        except EngineDead:
            return dataclasses.replace(_json(ApiError(500, "InternalServerError", ENGINE_DEAD).body, 500), vary=False)

    def _no_route(self, request: Request) -> Reply:
        other = request.path[:-1] if request.path.endswith("/") else request.path + "/"
        if request.path != "/" and other in self._methods:
            location = f"http://{request.headers.get('host', 'localhost')}{other}"
            return Reply(307, content_type=None, headers=(("location", location),))
        return _json({"detail": "Not Found"}, 404)

    # --- about the server

    def _health(self, _: Request) -> Reply:
        return Reply(503 if self._engine.dead.is_set() else 200, content_type=None)

    def _docs(self, _: Request) -> Reply:
        page = (
            "<!DOCTYPE html>\n<html>\n<head>\n<title>FastAPI - Swagger UI</title>\n</head>\n"
            '<body>\n<div id="swagger-ui">\n</div>\n</body>\n</html>\n'
        )
        return Reply(body=page.encode(), content_type="text/html; charset=utf-8")

    def _openapi(self, _: Request) -> Reply:
        paths: dict[str, dict[str, object]] = {}
        for path, found in self._methods.items():
            paths[path] = {method.lower(): {"responses": {"200": {}}} for method in found if method != "HEAD"}
        return _json({"openapi": "3.1.0", "info": {"title": "FastAPI", "version": "0.1.0"}, "paths": paths})

    def _metrics(self, _: Request) -> Reply:
        text = metrics.render(self._names[0], self._engine.running, self._engine.totals, self._requests)
        return Reply(body=text.encode(), content_type="text/plain; version=1.0.0; charset=utf-8")

    def _models(self, _: Request) -> Reply:
        now = int(time.time())
        return _json({"object": "list", "data": [self._card(name, now) for name in self._names]})

    def _card(self, name: str, now: int) -> dict[str, Any]:
        permission = {
            "id": f"modelperm-{short_id()}",
            "object": "model_permission",
            "created": now,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        return {
            "id": name,
            "object": "model",
            "created": now,
            "owned_by": "vllm",
            "root": self._model.root,
            "parent": None,
            "max_model_len": self._max_model_len,
            "permission": [permission],
        }

    # --- tokens

    def _tokenize(self, request: Request) -> Reply:
        body = _body(request)
        self._check_model(body)
        text = chat_prompt(body["messages"]) if "messages" in body else str(body.get("prompt", ""))
        tokens = tokenize(text)
        strings = tokens if body.get("return_token_strs") else None
        return _json(
            {
                "count": len(tokens),
                "max_model_len": self._max_model_len,
                "tokens": [token_id(token) for token in tokens],
                "token_strs": strings,
            }
        )

    def _detokenize(self, request: Request) -> Reply:
        body = _body(request)
        self._check_model(body)
        # The ids are checksums: nothing leads back.
        return _json({"prompt": ""})

    def _embeddings(self, request: Request) -> Reply:
        body = _body(request)
        self._check_model(body)
        texts = body.get("input", "")
        texts = texts if isinstance(texts, list) else [texts]
        count = sum(len(tokenize(str(text))) for text in texts)
        data = [
            {"index": index, "object": "embedding", "embedding": embedding(str(text))}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0, "prompt_tokens_details": None}
        return _json(
            {
                "id": f"embd-{short_id()}",
                "object": "list",
                "created": int(time.time()),
                "model": self._names[0],
                "data": data,
                "usage": usage,
            }
        )

    # --- completions

    def _invocations(self, request: Request) -> Reply:
        body = _body(request)
        if self._model.pooling:
            return self._embeddings(request)
        return self._chat(request) if "messages" in body else self._completion(request)

    def _chat(self, request: Request) -> Reply:
        body = _body(request)
        check_chat(request.path, body)
        self._check_model(body)
        if not self._chat_template or switches.is_on("no-chat-template"):
            raise ApiError(400, "BadRequestError", NO_TEMPLATE, vary=False)
        if not body["messages"]:
            text = "Cannot apply chat template to an empty conversation. Provide at least one message."
            raise ApiError(400, "BadRequestError", text, vary=False)
        check_sampling(body)
        return self._generated(body, chat_prompt(body["messages"]), Chat(self._names[0], self._fingerprint), None)

    def _completion(self, request: Request) -> Reply:
        body = _body(request)
        check_completion(request.path, body)
        self._check_model(body)
        check_sampling(body)
        prompt = body.get("prompt") or ""
        text = prompt if isinstance(prompt, str) else str(prompt[0])
        return self._generated(body, text, Text(self._names[0], self._fingerprint), COMPLETION_TOKENS)

    def _generated(self, body: Mapping[str, Any], prompt: str, shape: Shape, default: int | None) -> Reply:
        count = len(tokenize(prompt))
        limit = check_length(body, count, self._max_model_len, default)
        tokens = self._engine.generate(prompt, count, limit, bool(body.get("ignore_eos")))
        if switches.is_on("abort"):
            tokens = (Token(token.text, token.finish and "abort") for token in tokens)
        if body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            # The first token is waited for here: a dead engine is a 500, no broken stream.
            tokens = itertools.chain([next(tokens)], tokens)
            return Reply(content_type="text/event-stream; charset=utf-8", events=shape.events(tokens, count, usage))
        made = list(tokens)
        return _json(
            shape.whole(
                "".join(token.text for token in made), made[-1].finish, count, sum(bool(token.text) for token in made)
            )
        )

    def _check_model(self, body: Mapping[str, Any]) -> None:
        name = body.get("model")
        if name and name not in self._names:
            raise ApiError(404, "NotFoundError", f"The model `{name}` does not exist.", "model")


def _body(request: Request) -> dict[str, Any]:
    return parse_body(request.path, request.headers.get("content-type", ""), request.body)


def _json(value: object, code: int = 200) -> Reply:
    return Reply(code, dumps(value).encode())
