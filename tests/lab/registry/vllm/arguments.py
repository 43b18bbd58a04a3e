# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: `vllm serve MODEL …` and `python3 -m vllm.entrypoints.openai.api_server --model MODEL …`."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .version import DEFAULT_UTILIZATION

# Flags that the stand-in takes and does nothing with, as far as fleets use them.
VALUES = """
    --tokenizer --tokenizer-mode --quantization --kv-cache-dtype --max-num-seqs --max-num-batched-tokens --seed
    --download-dir --load-format --swap-space --block-size --revision --tokenizer-revision --code-revision
    --root-path --uvicorn-log-level --distributed-executor-backend --tool-call-parser --reasoning-parser
    --generation-config --shutdown-timeout --task --runner --convert --override-generation-config
    --limit-mm-per-prompt --cpu-offload-gb --compilation-config --hf-overrides --hf-token --rope-scaling
    --rope-theta --attention-backend --pipeline-parallel-size --data-parallel-size --speculative-config --config
    --kv-transfer-config --response-role --chat-template-content-format --max-log-len --ssl-keyfile --ssl-certfile
    --ssl-ca-certs --max-seq-len-to-capture --max-lora-rank --max-loras --lora-modules --guided-decoding-backend
    --model-impl --logits-processors --allowed-origins --allowed-methods --allowed-headers --middleware
    --default-chat-template-kwargs --mm-processor-kwargs --kv-cache-memory-bytes --max-cudagraph-capture-size
    --scheduling-policy --stream-interval --otlp-traces-endpoint --nnodes
""".split()
SWITCHES = """
    --enable-prefix-caching --enable-chunked-prefill --disable-log-stats --disable-log-requests
    --enable-log-requests --enable-auto-tool-choice --disable-custom-all-reduce --enable-lora
    --enable-expert-parallel --async-scheduling --disable-uvicorn-access-log --disable-fastapi-docs
    --enable-request-id-headers --enable-server-load-tracking --skip-tokenizer-init --disable-sliding-window
    --enable-prompt-tokens-details --enable-force-include-usage --enable-sleep-mode --headless --allow-credentials
    --return-tokens-as-token-ids --enable-log-outputs --enable-reasoning --disable-cascade-attn
""".split()
# "--no-enforce-eager" and so on.
NEGATED = ["--trust-remote-code", "--enforce-eager", *SWITCHES]
SHORT = {
    "--quantization": ("-q",),
    "--pipeline-parallel-size": ("-pp",),
    "--data-parallel-size": ("-dp",),
    "--compilation-config": ("-O",),
}
MULTIPLES = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


class Exit(Exception):
    """The command line ends the program: its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Arguments:
    model: str
    served_model_name: tuple[str, ...]
    host: str | None
    port: int
    api_key: tuple[str, ...]
    tensor_parallel_size: int
    max_model_len: int | None
    gpu_memory_utilization: float
    enforce_eager: bool
    trust_remote_code: bool
    chat_template: str | None
    distributed_executor_backend: str | None
    hf_token: str | None
    pooling: bool
    model_by_option: bool
    non_default: Mapping[str, object]


class _Parser(argparse.ArgumentParser):
    def exit(self, status: int = 0, message: str | None = None) -> Any:
        if message:
            self._print_message(message)
        raise Exit(status)


def parse(argv: Sequence[str], prog: str = "vllm") -> Arguments:
    """argv begins with "serve" for the command vllm. Raises Exit, with argparse's texts printed."""
    serve = prog == "vllm"
    parser = _Parser(
        prog=f"{prog} serve" if serve else prog,
        usage=f"{prog} serve [model_tag] [options]" if serve else f"{prog} [-h] [--model MODEL] [options]",
        allow_abbrev=False,
    )
    _add_options(parser, positional=serve)
    rest = list(argv)
    if serve:
        rest = _subcommand(rest)
    found, unknown = parser.parse_known_args([_with_dashes(argument) for argument in rest])
    if unknown:
        top = _Parser(
            prog=prog,
            usage=f"{prog} [-h] [-v] {{chat,complete,serve,bench,collect-env,run-batch}} ..."
            if serve
            else parser.usage,
        )
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    return _arguments(found, parser)


def _subcommand(argv: list[str]) -> list[str]:
    top = _Parser(prog="vllm", usage="vllm [-h] [-v] {chat,complete,serve,bench,collect-env,run-batch} ...")
    if not argv or argv[0] in {"-h", "--help"}:
        top.print_help()
        raise Exit(0)
    if argv[0] != "serve":
        top.error(
            f"argument subparser: invalid choice: {argv[0]!r} "
            "(choose from 'chat', 'complete', 'serve', 'bench', 'collect-env', 'run-batch')"
        )
    return argv[1:]


def _with_dashes(argument: str) -> str:
    """--max_model_len=1 is as good as --max-model-len=1."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def _human_int(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", text)
    if not match or ("." in match[1] and not match[2]):
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}")
    return int(float(match[1]) * MULTIPLES.get(match[2], 1))


def _add_options(parser: argparse.ArgumentParser, positional: bool) -> None:
    if positional:
        parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--api-key", nargs="+")
    parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    parser.add_argument("--max-model-len", type=_human_int)
    parser.add_argument("--gpu-memory-utilization", type=float, default=DEFAULT_UTILIZATION)
    parser.add_argument("--dtype", default="auto", choices=["auto", "bfloat16", "float", "float16", "float32", "half"])
    parser.add_argument("--chat-template")
    for name in NEGATED:
        parser.add_argument(name, action=argparse.BooleanOptionalAction, default=False)
    for name in VALUES:
        parser.add_argument(
            name, *SHORT.get(name, ()), nargs="+" if name in {"--lora-modules", "--logits-processors"} else None
        )


def _arguments(found: argparse.Namespace, parser: argparse.ArgumentParser) -> Arguments:
    values = vars(found)
    tag, option = values.get("model_tag"), found.model
    model = tag or option or "Qwen/Qwen3-0.6B"
    by_tag = {"model_tag": model} if tag or ("model_tag" in values and option) else {}
    options = {name: value for name, value in values.items() if name not in {"model_tag", "model"}}
    changed = {name: value for name, value in options.items() if value != parser.get_default(name)}
    by_name = {"model": model} if tag or option else {}
    return Arguments(
        model=model,
        served_model_name=tuple(found.served_model_name or [model]),
        host=found.host,
        port=found.port,
        api_key=tuple(found.api_key or ()),
        tensor_parallel_size=found.tensor_parallel_size,
        max_model_len=found.max_model_len,
        gpu_memory_utilization=found.gpu_memory_utilization,
        enforce_eager=found.enforce_eager,
        trust_remote_code=found.trust_remote_code,
        chat_template=found.chat_template,
        distributed_executor_backend=found.distributed_executor_backend,
        hf_token=found.hf_token,
        pooling=found.runner == "pooling" or found.task in {"embed", "embedding"},
        model_by_option="model_tag" in values and not tag and bool(option),
        non_default=by_tag | changed | by_name,
    )
