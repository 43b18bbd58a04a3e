# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of a running server and its end: facts/vllm.md, sections 3b and 4."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import main

from .conftest import Reply, Vllm, Vllms

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


def in_background(server: Vllm, **fields: object) -> tuple[threading.Thread, list[Reply]]:
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(server.chat(**fields)), daemon=True)
    thread.start()
    end = time.monotonic() + 5
    while server.ask("GET", "/load").json["server_load"] == 0:
        assert time.monotonic() < end
        time.sleep(0.02)
    return thread, replies


def test_the_engine_is_a_process_of_its_own(tiny: Vllm) -> None:
    folder = Path(f"/proc/{tiny.engine()}")
    assert (folder / "cmdline").read_bytes().rstrip(b"\0") == b"VLLM::EngineCore"
    assert (folder / "comm").read_text() == "VLLM::EngineCor\n"


@pytest.mark.parametrize("by", ["signal", "file"])
def test_engine_dies_idle(vllms: Vllms, by: str) -> None:
    server = vllms.serve().ready()
    if by == "signal":
        os.kill(server.engine(), signal.SIGKILL)
    else:
        server.fault("engine-dies")
    time.sleep(0.2)
    reply = server.ask("GET", "/health")
    assert (reply.code, reply.body) == (503, b"")
    assert server.ask("GET", "/v1/models").code == 200
    assert server.wait() == 0
    assert not server.reachable()
    for text in (
        "MPClient: engine core exited unexpectedly; starting cleanup",
        "AsyncLLM output_handler failed.",
        f"vllm.v1.engine.exceptions.EngineDeadError: {DEAD}",
        "Finished server process [",
    ):
        assert text in server.text


def test_engine_dies_with_a_request(vllms: Vllms) -> None:
    server = vllms.serve(before=["slow-tokens"]).ready()
    thread, replies = in_background(server)
    os.kill(server.engine(), signal.SIGKILL)
    begin = time.monotonic()
    assert server.wait() == 0
    assert time.monotonic() - begin < 1
    thread.join(5)
    error = {"message": DEAD, "type": "InternalServerError", "param": None, "code": 500}
    assert (replies[0].code, replies[0].json) == (500, {"error": error})


@pytest.mark.parametrize("by", ["signal", "file"])
def test_engine_hangs(vllms: Vllms, by: str) -> None:
    server = vllms.serve().ready()
    if by == "signal":
        os.kill(server.engine(), signal.SIGSTOP)
    else:
        server.fault("engine-hangs")
        time.sleep(0.2)
    for path in ("/health", "/v1/models", "/metrics"):
        assert server.ask("GET", path).code == 200
    with pytest.raises(TimeoutError):
        server.chat(timeout=0.5)
    server.process.terminate()
    assert server.wait(2) == 0


def counted(server: Vllm) -> dict[str, float]:
    text = server.ask("GET", "/metrics").body.decode()
    found = re.findall(r"^vllm:(prompt|generation)_tokens_total\{.*\} (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_tokens_are_counted_while_they_are_made(vllms: Vllms) -> None:
    server = vllms.serve(before=["slow-tokens"]).ready()
    assert counted(server) == {"prompt": 0, "generation": 0}
    thread, replies = in_background(server, max_tokens=8)
    seen = set()
    while thread.is_alive():
        seen.add(counted(server)["generation"])
        time.sleep(0.02)
    assert len(seen) > 2
    usage = replies[0].json["usage"]
    assert counted(server) == {"prompt": usage["prompt_tokens"], "generation": usage["completion_tokens"]}


def test_no_token_of_a_request_that_waits_is_counted(vllms: Vllms) -> None:
    """Of an engine that hangs, every probe would look as if it worked."""
    server = vllms.serve().ready()
    os.kill(server.engine(), signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        server.chat(timeout=0.5)
    assert counted(server) == {"prompt": 0, "generation": 0}


@pytest.mark.parametrize(("fault", "restarted"), [("slow-tokens", False), ("engine-hangs", True)])
def test_the_watch_tells_a_busy_server_from_one_that_hangs(vllms: Vllms, fault: str, restarted: bool) -> None:
    server = vllms.serve("--served-model-name", "tiny").ready()
    server.fault(fault)
    time.sleep(0.2)
    called: list[str] = []

    def systemctl(arguments: list[str]) -> tuple[int, str]:
        called.append(arguments[0])
        return 0, ""

    argv = ["--unit", "x", "--port", str(server.port), "--model", "tiny", "--timeout", "1"]
    assert main(argv, {}, systemctl) == 0
    assert ("restart" in called) == restarted


def test_killed_api_server_leaves_an_engine_that_holds_the_memory(vllms: Vllms) -> None:
    server = vllms.serve().ready()
    engine = server.engine()
    server.process.kill()
    server.process.wait()
    try:
        time.sleep(0.3)
        assert Path(f"/proc/{engine}/comm").read_text() == "VLLM::EngineCor\n"
    finally:
        os.kill(engine, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end(vllms: Vllms, number: signal.Signals) -> None:
    server = vllms.serve().ready()
    engine = server.engine()
    server.process.send_signal(number)
    assert server.wait(2) == 0
    assert not Path(f"/proc/{engine}").exists()
    assert not server.reachable()
    rest = server.text
    for text in (
        "[shutdown] API server: shutdown triggered",
        "stopping engine client mode=abort timeout=0s",
        "MPClient: stopping engine manager",
        "EngineCore: trigger received signal=SIGTERM",
        "[shutdown] Process manager: force killing remaining processes count=1",
        "INFO:     Shutting down",
        "Application shutdown complete.",
        "resource_tracker: There appear to be 1 leaked semaphore objects",
    ):
        _, found, rest = rest.partition(text)
        assert found, text
    assert "Finished server process" not in server.text


@pytest.mark.parametrize("stream", [False, True])
def test_end_with_a_request_aborts_it(vllms: Vllms, stream: bool) -> None:
    server = vllms.serve(before=["slow-tokens"]).ready()
    thread, replies = in_background(server, stream=stream)
    server.process.terminate()
    assert server.wait(2) == 0
    thread.join(5)
    assert replies[0].code == 200
    body = replies[0].body.decode()
    assert '"finish_reason":"abort"' in body
    assert body.endswith("data: [DONE]\n\n") == stream
    assert "aborting in-flight requests count=1" in server.text


def test_signal_during_the_start_is_lost(vllms: Vllms) -> None:
    server = vllms.serve("--enforce-eager", VLLM_LAB_TIME_SCALE="0.02")
    server.until("Initializing a V1 LLM engine")
    server.process.terminate()
    server.ready()
    assert server.chat().code == 200


def test_complete_but_not_listening(vllms: Vllms) -> None:
    server = vllms.serve(before=["no-listen"]).ready()
    time.sleep(0.2)
    assert server.process.poll() is None
    assert not server.reachable()


def test_answers_that_were_aborted(vllms: Vllms) -> None:
    server = vllms.serve(VLLM_LAB_FAULTS="abort").ready()
    reply = server.chat()
    assert (reply.code, reply.json["choices"][0]["finish_reason"]) == (200, "abort")


def test_no_chat_template(vllms: Vllms) -> None:
    server = vllms.serve(VLLM_LAB_FAULTS="slow-tokens,no-chat-template").ready()
    assert server.chat().code == 400
