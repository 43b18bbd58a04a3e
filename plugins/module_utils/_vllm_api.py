# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# What a vLLM server is asked, and what a good answer is. The role vllm_server copies this file into its container, as
# the program that watches the server. The collection is not there: it must not import anything of it.

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import os
import re
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Mapping

PROMPT = "Say hello in one short sentence."
MAX_TOKENS = 16
FINISHED = ("stop", "length")
POLL_SECONDS = 0.5
# Neither generates anything: what hangs here hangs for good.
PROBE_TIMEOUT = 5.0
KEY_VARIABLE = "VLLM_API_KEY"
# What may as well come from more requests than the server can answer in time.
SLOW = ("engine-hangs", "server-hangs")
# Tokens count when the engine hands them over, so a request that waits moves neither.
_COUNTED = re.compile(rb"^vllm:(?:prompt|generation)_tokens_total\b.*", re.MULTILINE)
OK, UNAUTHORIZED, NOT_FOUND, UNAVAILABLE = 200, 401, 404, 503


class Fault(Exception):
    """An answer that is not good: the name of the problem, what is wrong, and what to do."""

    def __init__(self, problem: str, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}. {remedy}")
        self.problem = problem
        self.reason = reason
        self.remedy = remedy


class NotListening(Exception):
    """Nobody answers. A server that starts refuses everybody until it is ready, so this is no fault in itself."""


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    def json(self) -> t.Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """The server's own words; it has three shapes for them."""
        body = self.json()
        if isinstance(body, dict):
            error = body.get("error", body.get("detail"))
            if isinstance(error, dict):
                return str(error.get("message", ""))
            if error:
                return str(error)
        return self.body.decode(errors="replace")[:300]


@dataclasses.dataclass(frozen=True)
class Answer:
    model: str
    text: str
    finish_reason: str
    usage: Mapping[str, int]

    def check_text(self) -> None:
        if not self.text.strip():
            raise _bad("the completion is empty")


@dataclasses.dataclass(frozen=True)
class Server:
    """Where it is, and what it has to serve: kind is chat or embedding."""

    port: int
    model: str
    kind: str = "chat"
    host: str = "127.0.0.1"
    key: str = dataclasses.field(default="", repr=False)
    timeout: float = 60.0

    def request(self, method: str, path: str, body: t.Any = None, timeout: float = PROBE_TIMEOUT) -> Reply:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Reply(response.status, response.read())
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise NotListening(str(error) or type(error).__name__) from error
        finally:
            connection.close()

    # --- the four steps of readiness

    def check_health(self) -> None:
        """By GET, for HEAD is refused. 200 does not mean that anything is generated; 503 means that nothing will be."""
        reply = self._probe("/health")
        if reply.status == UNAVAILABLE:
            raise Fault(
                "engine-died",
                "The engine of vLLM has died: /health answers 503",
                "See the last error of EngineCore in the log; the server ends by itself within seconds.",
            )
        if reply.status != OK:
            raise Fault(
                "not-vllm",
                f"Port {self.port} answers {reply.status} to GET /health, which vLLM never does",
                "See with `ss -ltnp` who listens there, and choose another port.",
            )

    def check_models(self, max_model_len: int | None = None) -> None:
        reply = self._probe("/v1/models")
        self._check_key(reply)
        body = reply.json()
        data = body.get("data") if isinstance(body, dict) else None
        if reply.status != OK or not isinstance(data, list):
            raise Fault(
                "not-vllm",
                f"Port {self.port} answers {reply.status} to GET /v1/models: {reply.message}",
                "See with `ss -ltnp` who listens there, and choose another port.",
            )
        lengths = {str(card.get("id")): card.get("max_model_len") for card in data if isinstance(card, dict)}
        if self.model not in lengths:
            raise Fault(
                "wrong-model",
                f"The server on port {self.port} serves {', '.join(lengths) or 'nothing'}, not {self.model}",
                "Another server may have the port: see `docker ps` and `ss -ltnp`. Else correct the served model name.",
            )
        if max_model_len and lengths[self.model] != max_model_len:
            raise Fault(
                "wrong-model",
                f"max_model_len: the server has {lengths[self.model]}, and {max_model_len} is wanted",
                "The server runs with older settings: restart it.",
            )

    def ask(self, prompt: str = PROMPT) -> Answer:
        """One completion (or embedding), which is the only proof that the engine works."""
        path, body = self._question(prompt)
        try:
            reply = self.request("POST", path, body, self.timeout)
        except TimeoutError:
            raise Fault(
                "engine-hangs",
                f"The engine of vLLM hangs: POST {path} got no answer within {self.timeout:g} s",
                "Restart the server. With several GPUs a hang is mostly NCCL's: try it with NCCL_DEBUG=INFO in the "
                "environment, and NCCL_P2P_DISABLE=1 as a diagnosis.",
            ) from None
        self._check_key(reply)
        if reply.status != OK:
            raise self._refused(path, reply)
        return self._embedding(reply) if self.kind == "embedding" else self._chat(reply)

    def progress(self) -> list[bytes]:
        """How many tokens the engine has handled; nothing where that is not to be had. Nobody needs a key for it."""
        try:
            reply = self.request("GET", "/metrics", timeout=min(PROBE_TIMEOUT, self.timeout))
        except (TimeoutError, NotListening):
            return []
        return _COUNTED.findall(reply.body) if reply.status == OK else []

    # --- how answers are judged

    def _probe(self, path: str) -> Reply:
        try:
            return self.request("GET", path)
        except TimeoutError:
            raise Fault(
                "server-hangs",
                f"The API server of vLLM hangs: GET {path} got no answer within {PROBE_TIMEOUT:g} s",
                "Restart the server.",
            ) from None

    def _question(self, prompt: str) -> tuple[str, dict[str, t.Any]]:
        if self.kind == "embedding":
            return "/v1/embeddings", {"model": self.model, "input": prompt}
        messages = [{"role": "user", "content": prompt}]
        return "/v1/chat/completions", {
            "model": self.model,
            "messages": messages,
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
        }

    def _check_key(self, reply: Reply) -> None:
        if reply.status == UNAUTHORIZED:
            raise Fault(
                "unauthorized",
                "The server refuses the API key" if self.key else "The server wants an API key",
                "Give the key that the server was started with.",
            )

    def _refused(self, path: str, reply: Reply) -> Fault:
        text = reply.message
        if "chat template" in text:
            return Fault(
                "no-chat-template",
                f"{self.model} has no chat template, so the server refuses to chat",
                "Use a model that is made for chat, or give a template with --chat-template.",
            )
        if "EngineCore encountered an issue" in text:
            return Fault(
                "engine-died", f"The engine of vLLM has died: {text}", "See the last error of EngineCore in the log."
            )
        if reply.status == NOT_FOUND and self.kind == "embedding":
            return Fault("wrong-kind", f"{self.model} makes no embeddings: {text}", "Correct the type of the model.")
        return Fault("refused", f"POST {path} was answered with {reply.status}: {text}", "See the server's log.")

    def _chat(self, reply: Reply) -> Answer:
        body = reply.json()
        try:
            choice, usage = body["choices"][0], body["usage"]
            message, finish, model = choice["message"], choice["finish_reason"], body["model"]
            content, thought = message["content"], message.get("reasoning") or message.get("reasoning_content")
            asked, made, total = (int(usage[f"{name}_tokens"]) for name in ("prompt", "completion", "total"))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise _bad(f"the completion has not the shape of one ({type(error).__name__}: {error})") from error
        if finish not in FINISHED:
            raise _bad(f"finish_reason is {finish!r}, not one of {' and '.join(FINISHED)}")
        # A terse model may say nothing, and one that reasons may still think: the tokens are the proof.
        if not isinstance(content, str) and not (content is None and thought and isinstance(thought, str)):
            raise _bad("the completion has neither content nor reasoning")
        if asked < 1 or made < 1 or asked + made != total:
            raise _bad(f"usage does not add up: {asked} tokens asked, {made} made, {total} in all")
        self._check_model(model)
        return Answer(model, content or "", finish, {"prompt": asked, "completion": made, "total": total})

    def _embedding(self, reply: Reply) -> Answer:
        body = reply.json()
        try:
            vector, model = body["data"][0]["embedding"], body["model"]
            asked = int(body["usage"]["prompt_tokens"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise _bad(f"the embedding has not the shape of one ({type(error).__name__}: {error})") from error
        if not isinstance(vector, list) or not any(vector):
            raise _bad("the embedding is empty, or nothing but zeros")
        self._check_model(model)
        return Answer(model, f"{len(vector)} numbers", "stop", {"prompt": asked, "completion": 0, "total": asked})

    def _check_model(self, model: object) -> None:
        if model != self.model:
            raise _bad(f"it comes from {model}, and {self.model} was asked")


def _bad(what: str) -> Fault:
    return Fault(
        "bad-answer", f"The answer of vLLM is not good: {what}", "See the server's log; try it with another model."
    )


# --- the program in the container of a server


def _systemctl(arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(["/usr/bin/systemctl", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


Systemctl = Callable[[list[str]], tuple[int, str]]


class Unit:
    """The server's systemd unit, as its watchdog needs it."""

    def __init__(self, name: str, systemctl: Systemctl = _systemctl, now: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._systemctl = systemctl
        self._now = now

    def active(self) -> bool:
        """Neither stopped by somebody, nor being restarted, nor given up."""
        return self._systemctl(["is-active", "--quiet", self.name])[0] == 0

    def seconds(self) -> float:
        """For how long it has been active; systemd's clock is this one."""
        said = self._systemctl(["show", "--property=ActiveEnterTimestampMonotonic", "--value", self.name])[1].strip()
        return self._now() - (int(said) / 1e6 if said.isdigit() else 0)

    def restart(self) -> bool:
        """False when systemd refuses, because it was restarted too often."""
        return self._systemctl(["restart", "--no-block", self.name])[0] == 0


def _say(stream: t.TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def watch(server: Server, unit: Unit, attempts: int, start_timeout: float) -> int:
    """Restart the unit when no completion is answered, attempts times in a row."""
    if not unit.active():
        return 0
    made = server.progress()
    for attempt in range(1, attempts + 1):
        try:
            server.check_health()
            server.ask()
            return 0
        except NotListening as error:
            # The unit is active from the first moment, and a server refuses everybody until its model is loaded.
            if (seconds := unit.seconds()) < start_timeout:
                _say(sys.stdout, f"{unit.name} starts, for {seconds:.0f} s by now: nobody listens yet")
                return 0
            problem = f"nobody listens: {error}"
        except Fault as fault:
            problem = f"{fault.problem}: {fault}"
            if fault.problem == "unauthorized":
                # A restart would not change that.
                _say(sys.stderr, problem)
                return 1
            if fault.problem in SLOW:
                found = server.progress()
                if made and found and found != made:
                    _say(sys.stderr, f"{unit.name} is busy and not restarted: no answer in time, but it makes tokens")
                    return 0
                made = made or found
        _say(sys.stderr, f"attempt {attempt} of {attempts}: {problem}")
    if not unit.active():
        # It ended meanwhile, and systemd has noticed.
        return 0
    _say(sys.stderr, f"{unit.name} is restarted")
    return 0 if unit.restart() else 1


def main(argv: list[str], environment: Mapping[str, str] | None = None, systemctl: Systemctl = _systemctl) -> int:
    environment = os.environ if environment is None else environment
    parser = argparse.ArgumentParser(description="Ask a vLLM server for a completion, and restart it when none comes.")
    parser.add_argument("--unit", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--kind", choices=["chat", "embedding"], default="chat")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one completion")
    parser.add_argument("--start-timeout", type=float, default=3600.0, help="seconds until somebody has to listen")
    parser.add_argument("--attempts", type=int, default=2)
    given = parser.parse_args(argv)
    key = environment.get(KEY_VARIABLE, "")
    server = Server(given.port, given.model, given.kind, given.host, key, given.timeout)
    return watch(server, Unit(given.unit, systemctl), given.attempts, given.start_timeout)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
