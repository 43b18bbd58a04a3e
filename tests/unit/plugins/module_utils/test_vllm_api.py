# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import itertools
import typing as t

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import (
    Fault,
    NotListening,
    Server,
    Unit,
    main,
    watch,
)
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.vllm_stub import (
    CHAT,
    GOOD,
    MODEL,
    SILENCE,
    Answers,
    serving,
)

CHATS = "/v1/chat/completions"
EMBEDDING = {"model": MODEL, "data": [{"embedding": [0.5, 0.0]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def changed(**changes: t.Any) -> dict[str, t.Any]:
    """A good answer, but for some fields of it."""
    answer = copy.deepcopy(CHAT)
    for key, value in changes.items():
        message = answer["choices"][0]["message"]
        places = dict.fromkeys(("content", "reasoning", "reasoning_content"), message)
        place = (places | {"finish_reason": answer["choices"][0]}).get(key, answer)
        place[key] = value
    return answer


def error(status: int, message: str) -> tuple[int, t.Any]:
    return status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}


def test_a_good_answer_in_every_part() -> None:
    with serving(GOOD) as (port, asked):
        server = Server(port, MODEL, key="sekret")
        server.check_health()
        server.check_models(2048)
        answer = server.ask()
    assert (answer.model, answer.text, answer.finish_reason) == (MODEL, "Hello!", "length")
    assert answer.usage == {"prompt": 17, "completion": 16, "total": 33}
    path, body, key = asked[-1]
    assert (path, key, body["model"], body["temperature"]) == (CHATS, "Bearer sekret", MODEL, 0)
    assert "sekret" not in repr(server)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": ""},
        {"content": None, "reasoning": "The user wants"},
        {"content": None, "reasoning_content": "The user wants"},
    ],
    ids=["terse", "thinking", "thinking, by the older name"],
)
def test_a_model_that_says_nothing_yet_is_no_worse(changes: dict[str, t.Any]) -> None:
    """It has made tokens, which is the proof."""
    with serving({CHATS: (200, changed(**changes))}) as (port, _asked):
        answer = Server(port, MODEL).ask()
    assert (answer.text, answer.usage["completion"]) == ("", 16)


def test_an_embedding() -> None:
    with serving({"/v1/embeddings": (200, EMBEDDING)}) as (port, _asked):
        assert Server(port, MODEL, "embedding").ask().text == "2 numbers"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, changed(finish_reason="abort")), "finish_reason is 'abort', not one of stop and length"),
        ((200, changed(content=None)), "the completion has neither content nor reasoning"),
        ((200, changed(content=None, reasoning="")), "the completion has neither content nor reasoning"),
        ((200, changed(content=["Hello"])), "the completion has neither content nor reasoning"),
        (
            (200, changed(usage={"prompt_tokens": 17, "completion_tokens": 16, "total_tokens": 34})),
            "usage does not add up: 17 tokens asked, 16 made, 34 in all",
        ),
        ((200, changed(usage={"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1})), "does not add up"),
        ((200, changed(model="other")), "it comes from other, and tiny was asked"),
        ((200, changed(choices=[])), "not the shape of one (IndexError: list index out of range)"),
        ((200, b"<html>"), "not the shape of one (TypeError"),
        (error(400, "so you must provide a chat template if the tokenizer"), "has no chat template"),
        (error(500, "EngineCore encountered an issue. See stack trace"), "The engine of vLLM has died"),
        (error(404, "The model `tiny` does not exist."), "answered with 404: The model `tiny` does not exist."),
        ((500, b"what"), "answered with 500: what"),
        ((401, {"error": "Unauthorized"}), "The server wants an API key"),
    ],
)
def test_a_bad_answer_is_told_apart(answer: tuple[int, t.Any], said: str) -> None:
    with serving({CHATS: answer}) as (port, _asked), pytest.raises(Fault) as caught:
        Server(port, MODEL).ask()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {**EMBEDDING, "data": [{"embedding": [0.0, 0.0]}]}), "the embedding is empty, or nothing but zeros"),
        ((200, {**EMBEDDING, "data": []}), "the embedding has not the shape of one"),
        ((404, {"detail": "Not Found"}), "tiny makes no embeddings: Not Found"),
    ],
)
def test_a_bad_embedding_is_told_apart(answer: tuple[int, t.Any], said: str) -> None:
    with serving({"/v1/embeddings": answer}) as (port, _asked), pytest.raises(Fault) as caught:
        Server(port, MODEL, "embedding").ask()
    assert said in str(caught.value)


def test_an_engine_that_hangs() -> None:
    """3b: /health says 200, and a completion never comes."""
    with serving({**GOOD, CHATS: SILENCE}) as (port, _asked):
        server = Server(port, MODEL, timeout=0.2)
        server.check_health()
        with pytest.raises(Fault) as caught:
            server.ask()
    assert caught.value.problem == "engine-hangs"


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"/health": (503, b"")}, "engine-died"),
        ({"/health": (404, b"")}, "not-vllm"),
        ({"/health": (200, b""), "/v1/models": (200, b"html")}, "not-vllm"),
        ({"/health": (200, b""), "/v1/models": (401, {"error": "Unauthorized"})}, "unauthorized"),
        ({"/health": (200, b""), "/v1/models": (200, {"data": [{"id": "other"}]})}, "wrong-model"),
        ({"/health": (200, b""), "/v1/models": (200, {"data": [{"id": MODEL, "max_model_len": 1}]})}, "wrong-model"),
    ],
)
def test_who_answers_is_looked_at(answers: Answers, problem: str) -> None:
    def look(port: int) -> None:
        server = Server(port, MODEL, key="k")
        server.check_health()
        server.check_models(2048)

    with serving(answers) as (port, _asked), pytest.raises(Fault) as caught:
        look(port)
    assert caught.value.problem == problem


def test_nobody_listens() -> None:
    with serving(GOOD) as (port, _asked):
        pass
    with pytest.raises(NotListening):
        Server(port, MODEL).check_health()


# --- the program


class Systemctl:
    """Answers is-active as it is told to, says since when, and what was restarted."""

    def __init__(self, *active: bool, restarts: bool = True, since: str = "40000000") -> None:
        self._active = list(active)
        self._restarts = restarts
        self._since = since
        self.restarted: list[str] = []

    def __call__(self, argv: list[str]) -> tuple[int, str]:
        verb, *options, unit = argv
        if verb == "is-active":
            assert options == ["--quiet"]
            return int(not self._active.pop(0)), ""
        if verb == "show":
            assert options == ["--property=ActiveEnterTimestampMonotonic", "--value"]
            return 0, f"{self._since}\n"
        assert (verb, options) == ("restart", ["--no-block"])
        self.restarted.append(unit)
        return int(not self._restarts), ""


# Systemctl's unit is active for 60 s by then.
NOW = 100.0
HANGS: Answers = {**GOOD, CHATS: SILENCE}


def watched(port: int, systemctl: Systemctl, *, attempts: int = 2, start_timeout: float = 30) -> int:
    unit = Unit("vllm.service", systemctl, lambda: NOW)
    return watch(Server(port, MODEL, timeout=0.1), unit, attempts, start_timeout)


@pytest.mark.parametrize(
    ("answers", "systemctl", "code", "restarted"),
    [
        (GOOD, Systemctl(True), 0, False),
        (HANGS, Systemctl(False), 0, False),
        (HANGS, Systemctl(True, True), 0, True),
        (HANGS, Systemctl(True, True, restarts=False), 1, True),
        (HANGS, Systemctl(True, False), 0, False),
        ({**GOOD, CHATS: (401, {"error": "Unauthorized"})}, Systemctl(True), 1, False),
    ],
    ids=["it answers", "it is stopped", "it hangs", "too many restarts", "it ended meanwhile", "another key"],
)
def test_the_watch(answers: Answers, systemctl: Systemctl, code: int, restarted: bool) -> None:
    with serving(answers) as (port, _asked):
        assert watched(port, systemctl) == code
    assert systemctl.restarted == ["vllm.service"] * restarted


@pytest.mark.parametrize("since", ["40000000", "0", ""], ids=["for long", "never", "systemd says nothing"])
def test_the_watch_of_a_server_that_is_gone(since: str, capsys: pytest.CaptureFixture[str]) -> None:
    systemctl = Systemctl(True, True, since=since)
    assert watched(1, systemctl) == 0
    assert systemctl.restarted == ["vllm.service"]
    assert "attempt 2 of 2: nobody listens: " in capsys.readouterr().err


def test_the_watch_lets_a_server_start(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens before it is ready. But one that listens and hangs has started."""
    systemctl = Systemctl(True, True)
    assert watched(1, systemctl, start_timeout=61) == 0
    assert systemctl.restarted == []
    assert capsys.readouterr().out.startswith("vllm.service starts, for 60 s by now: nobody listens yet")
    with serving(HANGS) as (port, _asked):
        assert watched(port, systemctl := Systemctl(True, True), start_timeout=61) == 0
    assert systemctl.restarted == ["vllm.service"]


COUNTED = itertools.count()


def metrics(prompt: float, generation: float) -> tuple[int, bytes]:
    """As recorded, and what other tokens there are."""
    label = 'engine="0",model_name="tiny"'
    text = (
        "# HELP vllm:prompt_tokens_total Number of prefill tokens processed.\n"
        "# TYPE vllm:prompt_tokens_total counter\n"
        f"vllm:prompt_tokens_total{{{label}}} {prompt}\n"
        f"vllm:generation_tokens_total{{{label}}} {generation}\n"
        f"vllm:num_requests_waiting{{{label}}} {next(COUNTED)}\n"
        f"process_cpu_seconds_total {next(COUNTED)}\n"
    )
    return 200, text.encode()


class Metrics(dict[str, tuple[int, t.Any]]):
    """The answers of a server that makes no completion in time, and says each time how many tokens it has made."""

    def __init__(self, *pages: tuple[int, t.Any], **answers: tuple[int, t.Any]) -> None:
        super().__init__(HANGS)
        self.update({f"/{name}": answer for name, answer in answers.items()})
        self._pages = list(pages)

    def get(self, path: str, default: t.Any = None) -> t.Any:
        if path == "/metrics":
            return self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        return super().get(path, default)


@pytest.mark.parametrize(
    ("pages", "restarted"),
    [
        ([metrics(10, 20), metrics(10, 21)], False),
        ([metrics(10, 20), metrics(17, 20)], False),
        ([metrics(10, 20), metrics(10, 20), metrics(10, 21)], False),
        ([SILENCE, metrics(10, 20), metrics(10, 21)], False),
        ([metrics(10, 20), SILENCE, metrics(10, 21)], False),
        ([metrics(10, 20), metrics(10, 20)], True),
        ([SILENCE, metrics(10, 20), metrics(10, 20)], True),
        ([metrics(10, 20), (404, b"")], True),
        ([(200, b"nothing of it"), metrics(10, 20), (200, b"nothing of it")], True),
    ],
    ids=["it generates", "it reads prompts", "after a while", "read late", "not read once", "it hangs",
         "read late, and hangs", "it is read once", "without statistics"],
)  # fmt: skip
def test_a_server_that_is_busy_is_not_restarted(
    pages: list[tuple[int, t.Any]], restarted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl = Systemctl(True, True)
    with serving(Metrics(*pages)) as (port, _asked):
        assert watched(port, systemctl) == 0
    assert systemctl.restarted == ["vllm.service"] * restarted
    assert ("vllm.service is busy and not restarted: " in capsys.readouterr().err) == (not restarted)


def test_a_dead_engine_is_never_busy() -> None:
    """What it has made until then says nothing."""
    systemctl = Systemctl(True, True)
    with serving(Metrics(metrics(10, 20), metrics(10, 21), health=(503, b""))) as (port, _asked):
        assert watched(port, systemctl) == 0
    assert systemctl.restarted == ["vllm.service"]


def test_the_program() -> None:
    systemctl = Systemctl(True)
    with serving(GOOD) as (port, asked):
        argv = ["--unit", "vllm.service", "--port", str(port), "--model", MODEL, "--timeout", "1"]
        assert main(argv, {"VLLM_API_KEY": "k"}, systemctl) == 0
    assert asked[-1][2] == "Bearer k"
    assert systemctl.restarted == []
