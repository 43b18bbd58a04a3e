# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a start fails: the exceptions by their printed names, and the shape of what two processes then print."""

from __future__ import annotations

from .console import STDERR, Console

PACKAGES = "/usr/local/lib/python3.12/dist-packages"

# Where the API server stands when a start fails, outermost first: file, line, function, statement.
_API_FRAMES = (
    ("/usr/local/bin/vllm", 10, "<module>", "sys.exit(main())"),
    ("vllm/entrypoints/cli/main.py", 75, "main", "args.dispatch_function(args)"),
    ("vllm/entrypoints/cli/serve.py", 122, "cmd", "uvloop.run(run_server(args))"),
    ("uvloop/__init__.py", 96, "run", "return __asyncio.run("),
    ("/usr/lib/python3.12/asyncio/runners.py", 195, "run", "return runner.run(main)"),
    ("/usr/lib/python3.12/asyncio/runners.py", 118, "run", "return self._loop.run_until_complete(task)"),
    ("uvloop/loop.pyx", 1518, "uvloop.loop.Loop.run_until_complete", ""),
    ("uvloop/__init__.py", 48, "wrapper", "return await main"),
    (
        "vllm/entrypoints/openai/api_server.py",
        670,
        "run_server",
        "await run_server_worker(listen_address, sock, args, **uvicorn_kwargs)",
    ),
    ("vllm/entrypoints/openai/api_server.py", 684, "run_server_worker", "async with build_async_engine_client("),
    ("/usr/lib/python3.12/contextlib.py", 210, "__aenter__", "return await anext(self.gen)"),
    (
        "vllm/entrypoints/openai/api_server.py",
        100,
        "build_async_engine_client",
        "async with build_async_engine_client_from_engine_args(",
    ),
    ("/usr/lib/python3.12/contextlib.py", 210, "__aenter__", "return await anext(self.gen)"),
)
_CONFIG_FRAMES = (
    (
        "vllm/entrypoints/openai/api_server.py",
        124,
        "build_async_engine_client_from_engine_args",
        "vllm_config = engine_args.create_engine_config(usage_context=usage_context)",
    ),
    ("vllm/engine/arg_utils.py", 1702, "create_engine_config", "model_config = self.create_model_config()"),
)
_CLIENT_FRAMES = (
    (
        "vllm/entrypoints/openai/api_server.py",
        141,
        "build_async_engine_client_from_engine_args",
        "async_llm = AsyncLLM.from_vllm_config(",
    ),
    ("vllm/v1/engine/async_llm.py", 225, "from_vllm_config", "return cls("),
    ("vllm/v1/engine/async_llm.py", 154, "__init__", "self.engine_core = EngineCoreClient.make_async_mp_client("),
    ("vllm/tracing/otel.py", 178, "sync_wrapper", "return func(*args, **kwargs)"),
    ("vllm/v1/engine/core_client.py", 130, "make_async_mp_client", "return AsyncMPClient(*client_args)"),
    ("vllm/v1/engine/core_client.py", 890, "__init__", "super().__init__("),
    ("vllm/v1/engine/core_client.py", 540, "__init__", "with launch_core_engines("),
    ("/usr/lib/python3.12/contextlib.py", 144, "__exit__", "next(self.gen)"),
    ("vllm/v1/engine/utils.py", 1070, "launch_core_engines", "wait_for_engine_startup("),
    (
        "vllm/v1/engine/utils.py",
        1135,
        "wait_for_engine_startup",
        'raise RuntimeError("Engine core initialization failed. "',
    ),
)
_ENGINE_FRAMES = (
    (
        "vllm/v1/engine/core.py",
        1200,
        "run_engine_core",
        "engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)",
    ),
    ("vllm/tracing/otel.py", 178, "sync_wrapper", "return func(*args, **kwargs)"),
    ("vllm/v1/engine/core.py", 966, "__init__", "super().__init__("),
    ("vllm/v1/engine/core.py", 123, "__init__", "self.model_executor = executor_class(vllm_config)"),
    ("vllm/tracing/otel.py", 178, "sync_wrapper", "return func(*args, **kwargs)"),
    ("vllm/v1/executor/abstract.py", 109, "__init__", "self._init_executor()"),
    ("vllm/v1/executor/uniproc_executor.py", 52, "_init_executor", "self.driver_worker.init_device()"),
    ("vllm/v1/worker/worker_base.py", 326, "init_device", "self.worker.init_device()"),
    ("vllm/tracing/otel.py", 178, "sync_wrapper", "return func(*args, **kwargs)"),
)
_ENGINE_MAIN_FRAMES = (
    ("/usr/lib/python3.12/multiprocessing/process.py", 314, "_bootstrap", "self.run()"),
    ("/usr/lib/python3.12/multiprocessing/process.py", 108, "run", "self._target(*self._args, **self._kwargs)"),
    ("vllm/v1/engine/core.py", 1235, "run_engine_core", "raise e"),
)
_PLATFORM_FRAMES = (
    ("/usr/local/bin/vllm", 10, "<module>", "sys.exit(main())"),
    (
        "vllm/entrypoints/cli/main.py",
        64,
        "main",
        "cmd.subparser_init(subparsers).set_defaults(dispatch_function=cmd.cmd)",
    ),
    ("vllm/entrypoints/cli/serve.py", 151, "subparser_init", "serve_parser = make_arg_parser(serve_parser)"),
    ("vllm/entrypoints/openai/cli_args.py", 371, "make_arg_parser", "parser = AsyncEngineArgs.add_cli_args(parser)"),
    ("vllm/engine/arg_utils.py", 2318, "add_cli_args", "parser = EngineArgs.add_cli_args(parser)"),
    ("vllm/config/device.py", 56, "__post_init__", "raise RuntimeError("),
)


class StartFailure(Exception):
    """What ends a start: the class as a traceback prints it, and the text behind it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.printed = f"{name}: {text}"


def invalid(config: str, text: str, field: str = "", kind: str = "value_error") -> StartFailure:
    """What pydantic says of a configuration that cannot be."""
    where = f"{field}\n" if field else ""
    value = "Value error, " if kind == "value_error" else ""
    # pydantic puts the kind behind the text, on its last line.
    body = f"1 validation error for {config}\n{where}  {value}{text} [type={kind}]"
    link = f"    For further information visit https://errors.pydantic.dev/2.12/v/{kind}"
    return StartFailure("pydantic_core._pydantic_core.ValidationError", f"{body}\n{link}")


def print_platform_failure(console: Console, failure: StartFailure) -> None:
    console.lines(_traceback(_PLATFORM_FRAMES, failure.printed), STDERR)


def print_api_failure(console: Console, failure: StartFailure) -> None:
    console.lines(_traceback((*_API_FRAMES, *_CONFIG_FRAMES), failure.printed), STDERR)


def print_engine_failure(console: Console, failure: StartFailure) -> None:
    """The engine's part: the cause twice."""
    error = "core.py:1231"
    console.error(error, "EngineCore failed to start.")
    console.error(error, _traceback(_ENGINE_FRAMES, failure.printed))
    console.lines("Process EngineCore:", STDERR)
    console.lines(_traceback((*_ENGINE_MAIN_FRAMES, *_ENGINE_FRAMES), failure.printed), STDERR)


def print_useless_end(console: Console) -> None:
    """The API server's part: last of all, and it says nothing."""
    text = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    console.lines(_traceback((*_API_FRAMES, *_CLIENT_FRAMES), text), STDERR)


def engine_dead_traceback() -> str:
    frames = (
        ("vllm/v1/engine/async_llm.py", 649, "output_handler", "outputs = await engine_core.get_output_async()"),
        ("vllm/v1/engine/core_client.py", 1009, "get_output_async", "raise self._format_exception(outputs) from None"),
    )
    return _traceback(frames, f"vllm.v1.engine.exceptions.EngineDeadError: {ENGINE_DEAD}")


ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


def _traceback(frames: tuple[tuple[str, int, str, str], ...], last: str) -> str:
    lines = ["Traceback (most recent call last):"]
    for path, number, function, statement in frames:
        full = path if path.startswith("/") or path.endswith(".pyx") else f"{PACKAGES}/{path}"
        lines.append(f'  File "{full}", line {number}, in {function}')
        if statement:
            lines += [f"    {statement}", f"    {'^' * len(statement)}"]
    return "\n".join([*lines, last])
