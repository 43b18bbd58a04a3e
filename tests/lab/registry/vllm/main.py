# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API server's process, from its start to its end: `vllm serve …`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from . import switches
from .api import Api
from .arguments import Arguments, Exit, parse
from .client import EngineClient
from .console import STDERR, Console
from .cuda import Driver, InjectedDriver, NoDriver
from .engine import Engine, EngineConfig
from .failures import (
    StartFailure,
    engine_dead_traceback,
    print_api_failure,
    print_platform_failure,
    print_useless_end,
)
from .http_server import Server, bind
from .models import Models
from .routes import routes
from .settings import check, compile_cache, times
from .version import VERSION

# The API server looks for a dead engine every five seconds; a scaled start still leaves time to see the 503.
DEAD_SECONDS = 4.6
DEAD_AT_LEAST = 1.0
DEAD_WITH_REQUESTS = 0.4


def main(argv: Sequence[str], prog: str = "vllm", driver: Driver | None = None) -> int:
    timeline = switches.Timeline(switches.time_scale())
    driver = driver or InjectedDriver()
    try:
        count = driver.count()
    except NoDriver:
        timeline.until(8.8)
        text = (
            "Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on "
            "verbose logging to help debug the issue."
        )
        print_platform_failure(Console(), StartFailure("RuntimeError", text))
        return 1
    if prog == "vllm" and argv and argv[0] in {"-v", "--version"}:
        timeline.until(18.9)
        print(VERSION)
        return 0
    try:
        arguments = parse(argv, prog)
    except Exit as end:
        return end.code
    return _Process(arguments, driver, count, timeline, os.environ).run()


class _Process:
    def __init__(
        self, arguments: Arguments, driver: Driver, count: int, timeline: switches.Timeline, environ: Mapping[str, str]
    ) -> None:
        self._arguments = arguments
        self._driver = driver
        self._count = count
        self._timeline = timeline
        self._environ = environ
        self._console = Console("APIServer")
        self._stop = threading.Event()
        self._serving = False
        self._engine = 0

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._timeline.until(times(self._arguments.enforce_eager, self._environ).first)
        self._greet()
        try:
            bound = bind(self._arguments.host, self._arguments.port)
            models = Models(self._environ, self._arguments.hf_token, self._console, self._timeline)
            model = models.find(self._arguments.model)
            self._console.info("model.py:623", f"Resolved architecture: {model.architecture}")
            config = check(self._arguments, model, self._count, self._environ)
        except OSError as error:
            return self._failed(StartFailure("OSError", str(error)))
        except StartFailure as failure:
            return self._failed(failure)
        self._console.info("model.py:1788", f"Using max model len {config.max_model_len}")
        self._console.info("scheduler.py:252", "Chunked prefill is enabled with max_num_batched_tokens=8192.")
        client = self._start_engine(config, bound)
        if not client.wait_ready():
            os.waitpid(self._engine, 0)
            self._timeline.wait(1.2)
            print_useless_end(self._console)
            return 1
        self._announce(config)
        template = model.chat_template or self._arguments.chat_template is not None
        api = Api(
            model,
            self._arguments.served_model_name,
            client,
            max_model_len=config.max_model_len,
            eager=config.eager,
            chat_template=template,
        )
        keys = self._arguments.api_key or tuple(filter(None, [self._environ.get("VLLM_API_KEY")]))
        return self._serve(Server(bound, api, keys, self._console), client)

    def _on_signal(self, *_: object) -> None:
        # Recorded: one that comes before the server serves is lost.
        if self._serving:
            self._stop.set()

    def _failed(self, failure: StartFailure) -> int:
        self._timeline.until(16.1)
        print_api_failure(self._console, failure)
        return 1

    def _greet(self) -> None:
        arguments, console = self._arguments, self._console
        if arguments.model_by_option:
            Console().warning(
                "argparse_utils.py:257",
                "With `vllm serve`, you should provide the model as a positional argument or in a config file instead "
                "of via the "
                "`--model` option. The `--model` option will be removed in a future version.",
            )
        console.info(
            "api_utils.py:345",
            "\n       █     █     █▄   ▄█"
            f"\n ▄▄ ▄█ █     █     █ ▀▄▀ █  version {VERSION}"
            f"\n  █▄█▀ █     █     █     █  model   {arguments.model}"
            "\n   ▀▀  ▀▀▀▀▀ ▀▀▀▀▀ ▀     ▀\n",
        )
        console.info("api_utils.py:273", f"non-default args: {dict(arguments.non_default)}")

    def _start_engine(self, config: EngineConfig, bound: socket.socket) -> EngineClient:
        mine, its = socket.socketpair()
        self._engine = os.fork()
        if self._engine == 0:
            mine.close()
            bound.close()
            # Devices are chosen by number already.
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            os._exit(Engine(config, self._driver, its, self._timeline).run())
        its.close()
        return EngineClient(mine)

    def _announce(self, config: EngineConfig) -> None:
        console = self._console
        self._timeline.until(config.ready_seconds)
        if not config.eager:
            _remember_compilation(self._environ)
        task = "embed" if config.model.pooling else "generate"
        console.info("api_server.py:598", f"Supported tasks: ['{task}']")
        if not config.model.pooling:
            console.info(
                "hf.py:314",
                "Detected the chat template content format to be 'string'. You can set "
                "`--chat-template-content-format` to override this.",
            )
        self._timeline.until(config.ready_seconds + 0.25)
        console.info(
            "api_server.py:602",
            f"Starting vLLM server on http://{self._arguments.host or '0.0.0.0'}:{self._arguments.port}",
        )
        console.info("launcher.py:37", "Available routes are:")
        for path, methods in routes(config.model.pooling):
            console.info("launcher.py:46", f"Route: {path}, Methods: {', '.join(methods)}")
        console.uvicorn(f"Started server process [{os.getpid()}]")
        console.uvicorn("Waiting for application startup.")
        self._timeline.until(config.ready_seconds + 0.55)

    # --- serving

    def _serve(self, server: Server, client: EngineClient) -> NoReturn:
        self._serving = True
        self._console.uvicorn("Application startup complete.")
        if not switches.is_on("no-listen"):
            try:
                server.server_activate()
                threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            except OSError:
                # Another server listens meanwhile: recorded is one that says nothing of it and stays.
                pass
        while not self._stop.wait(0.02):
            if client.dead.is_set():
                self._engine_died(client)
        self._shut_down(server, client)
        _end()

    def _engine_died(self, client: EngineClient) -> NoReturn:
        console = self._console
        console.error("core_client.py:620", "MPClient: engine core exited unexpectedly; starting cleanup")
        console.error("async_llm.py:708", f"AsyncLLM output_handler failed.\n{engine_dead_traceback()}")
        os.waitpid(self._engine, 0)
        window = DEAD_WITH_REQUESTS if client.lost else max(DEAD_AT_LEAST, DEAD_SECONDS * self._timeline.scale)
        self._stop.wait(window)
        console.uvicorn("Shutting down")
        console.uvicorn("Waiting for application shutdown.")
        console.uvicorn("Application shutdown complete.")
        console.uvicorn(f"Finished server process [{os.getpid()}]")
        _end()

    def _shut_down(self, server: Server, client: EngineClient) -> None:
        console = self._console
        console.info("launcher.py:100", "[shutdown] API server: shutdown triggered")
        console.info("launcher.py:116", "[shutdown] API server: stopping engine client mode=abort timeout=0s")
        count = client.abort()
        if count:
            console.info("async_llm.py:830", f"[shutdown] AsyncLLM: aborting in-flight requests count={count}")
        console.info("core_client.py:655", "[shutdown] MPClient: start timeout=0s")
        console.info("core_client.py:657", "[shutdown] MPClient: stopping engine manager")
        os.kill(self._engine, signal.SIGTERM)
        time.sleep(0.15)
        console.warning("utils.py:626", "[shutdown] Process manager: force killing remaining processes count=1")
        os.kill(self._engine, signal.SIGKILL)
        os.waitpid(self._engine, 0)
        for line in ("engine manager stopped", "cleaning up background resources", "complete"):
            console.info("core_client.py:659", f"[shutdown] MPClient: {line}")
        console.info("launcher.py:125", "[shutdown] API server: engine client stopped")
        console.info("launcher.py:128", "[shutdown] API server: signalling HTTP server shutdown")
        console.info("launcher.py:149", "[shutdown] API server: shutting down FastAPI HTTP server")
        server.server_close()
        for line in ("Shutting down", "Waiting for application shutdown.", "Application shutdown complete."):
            console.uvicorn(line)
        Console().lines(
            "/usr/lib/python3.12/multiprocessing/resource_tracker.py:279: UserWarning: resource_tracker: There appear "
            "to be 1 leaked semaphore "
            "objects to clean up at shutdown\n  warnings.warn('resource_tracker: There appear to be %d '",
            STDERR,
        )


def _remember_compilation(environ: Mapping[str, str]) -> None:
    with contextlib.suppress(OSError):
        compile_cache(environ).mkdir(parents=True, exist_ok=True)


def _end() -> NoReturn:
    # Threads of requests may wait for ever on an engine that hangs.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
