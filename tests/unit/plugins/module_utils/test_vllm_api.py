# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
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


def arguments(port: int, *more: str) -> list[str]:
    return ["wait", "--port", str(port), "--model", MODEL, "--timeout", "1", *more]


def test_the_program_waits_for_a_completion(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(GOOD) as (port, asked):
        assert main(arguments(port), {"VLLM_API_KEY": "k"}) == 0
    assert asked[-1][2] == "Bearer k"
    assert capsys.readouterr().out == "ready: tiny answers\n"


def test_the_program_ends_with_its_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(1), {"MAINPID": "4194305"}) == 1
    assert capsys.readouterr().err == "vLLM ended before it was ready\n"
    assert main(arguments(1, "--start-timeout", "0"), {}) == 1
    assert capsys.readouterr().err.startswith("vLLM did not answer within 0 s: ")
    with serving({**GOOD, CHATS: (200, changed(finish_reason="abort"))}) as (port, _asked):
        assert main(arguments(port), {}) == 1
    assert capsys.readouterr().err.startswith("bad-answer: ")


class Systemctl:
    """Answers is-active as it is told to, and says what was restarted."""

    def __init__(self, *active: bool, restarts: bool = True) -> None:
        self._active = list(active)
        self._restarts = restarts
        self.restarted: list[str] = []

    def __call__(self, argv: list[str]) -> int:
        _program, verb, option, unit = argv
        if verb == "is-active":
            assert option == "--quiet"
            return int(not self._active.pop(0))
        assert (verb, option) == ("restart", "--no-block")
        self.restarted.append(unit)
        return int(not self._restarts)


HANGS: Answers = {**GOOD, CHATS: SILENCE}


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
        assert watch(Server(port, MODEL, timeout=0.1), Unit("vllm.service", systemctl), 2) == code
    assert systemctl.restarted == ["vllm.service"] * restarted


def test_the_watch_of_a_server_that_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    systemctl = Systemctl(True, True)
    assert watch(Server(1, MODEL), Unit("vllm.service", systemctl), 2) == 0
    assert systemctl.restarted == ["vllm.service"]
    assert "attempt 2 of 2: nobody listens: " in capsys.readouterr().err
