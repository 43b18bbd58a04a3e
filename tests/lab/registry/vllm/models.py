# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which models there are: local folders as they are, names of the hub from a table, since the lab has no hub."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from .console import STDERR, Console
from .failures import StartFailure, invalid
from .switches import Timeline

GIB = 2**30
# As huggingface_hub has it: 'repo_name' or 'namespace/repo_name'.
REPO_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")


@dataclasses.dataclass(frozen=True)
class Model:
    root: str
    architecture: str
    heads: int
    kv_heads: int
    head_size: int
    layers: int
    max_position: int
    size: int
    chat_template: bool = True
    pooling: bool = False
    folder: Path | None = None

    @property
    def bytes_per_token(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_size * 2


@dataclasses.dataclass(frozen=True)
class _HubModel:
    architecture: str
    heads: int
    kv_heads: int
    head_size: int
    layers: int
    max_position: int
    gib: float
    chat_template: bool = True
    pooling: bool = False
    gated: bool = False


HUB = {
    "Qwen/Qwen2.5-Coder-0.5B-Instruct-GPTQ-Int8": _HubModel("Qwen2ForCausalLM", 14, 2, 64, 24, 32768, 0.61),
    "Qwen/Qwen2.5-0.5B-Instruct": _HubModel("Qwen2ForCausalLM", 14, 2, 64, 24, 32768, 0.93),
    "Qwen/Qwen3-0.6B": _HubModel("Qwen3ForCausalLM", 16, 8, 128, 28, 40960, 1.12),
    "cpatonn/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit": _HubModel("Qwen3MoeForCausalLM", 32, 4, 128, 48, 262144, 15.6),
    "ibm-granite/granite-embedding-english-r2": _HubModel("ModernBertModel", 12, 12, 64, 22, 8192, 0.28, False, True),
    "facebook/opt-125m": _HubModel("OPTForCausalLM", 12, 12, 64, 12, 2048, 0.24, False),
    "meta-llama/Llama-3.2-1B-Instruct": _HubModel("LlamaForCausalLM", 32, 8, 64, 16, 131072, 2.32, gated=True),
}


class Models:
    def __init__(self, environ: Mapping[str, str], token: str | None, console: Console, timeline: Timeline) -> None:
        self._environ = environ
        self._token = token or environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
        self._console = console
        self._timeline = timeline

    def find(self, name: str) -> Model:
        folder = Path(name)
        if folder.is_dir():
            return read_folder(folder, name)
        if not REPO_ID.fullmatch(name):
            raise StartFailure(
                "huggingface_hub.errors.HFValidationError",
                f"Repo id must be in the form 'repo_name' or 'namespace/repo_name': '{name}'. Use `repo_type` argument "
                "if needed.",
            )
        cached = self._snapshot(name)
        if self._environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            return self._offline(name, cached)
        if name in HUB:
            return self._from_hub(name, HUB[name])
        if cached:
            return read_folder(cached, name)
        self._no_network(name)
        raise StartFailure(
            "OSError",
            "We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached "
            "files.\n"
            "Check your internet connection or see how to run the library in offline mode at "
            "'https://huggingface.co/docs/transformers/installation#offline-mode'.",
        )

    def _offline(self, name: str, cached: Path | None) -> Model:
        if not cached:
            raise StartFailure(
                "huggingface_hub.errors.LocalEntryNotFoundError",
                "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk and "
                "outgoing traffic has been disabled. To enable repo look-ups and downloads online, set "
                "'HF_HUB_OFFLINE=0' as environment variable.",
            )
        self._console.info(
            "arg_utils.py:779", f"HF_HUB_OFFLINE is True, replace model_id [{name}] to model_path [{cached}]"
        )
        if name in HUB and not any(cached.glob("*.safetensors")):
            return dataclasses.replace(_model(name, HUB[name]), root=str(cached))
        return read_folder(cached, str(cached))

    def _from_hub(self, name: str, hub: _HubModel) -> Model:
        if hub.gated and not self._token:
            raise StartFailure(
                "OSError",
                "You are trying to access a gated repo.\n"
                f"Make sure to have access to it at https://huggingface.co/{name}.\n"
                "401 Client Error. Cannot access gated repo for url "
                f"https://huggingface.co/{name}/resolve/main/config.json.\n"
                f"Access to model {name} is restricted. You must have access to it and be authenticated to access it. "
                "Please log in.",
            )
        model = _model(name, hub)
        self._remember(name, model)
        return model

    def _hub_cache(self) -> Path:
        home = Path(self._environ.get("HF_HOME") or Path(self._environ.get("HOME") or "/root", ".cache/huggingface"))
        return Path(self._environ.get("HF_HUB_CACHE") or home / "hub")

    def _snapshot(self, name: str) -> Path | None:
        repository = self._hub_cache() / f"models--{name.replace('/', '--')}"
        try:
            revision = (repository / "refs/main").read_text().strip()
        except OSError:
            return None
        folder = repository / "snapshots" / revision
        return folder if folder.is_dir() else None

    def _remember(self, name: str, model: Model) -> None:
        """A downloaded model is there offline later, as far as the cache is kept."""
        repository = self._hub_cache() / f"models--{name.replace('/', '--')}"
        revision = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        folder = repository / "snapshots" / revision
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (repository / "refs").mkdir(exist_ok=True)
            (folder / "config.json").write_text(json.dumps(_config(model), indent=2) + "\n")
            (repository / "refs/main").write_text(revision)
        except OSError as error:
            self._console.warning(
                "weight_utils.py:512",
                f"Could not cache non-existence of file. Will ignore error and continue. Error: {error}",
            )

    def _no_network(self, name: str) -> None:
        url = f"https://huggingface.co/{name}/resolve/main/config.json"
        for retry, seconds in enumerate((1, 2, 4, 8, 8), 1):
            self._console.lines(
                f"'[Errno -3] Temporary failure in name resolution' thrown while requesting HEAD {url}\n"
                f"Retrying in {seconds}s [Retry {retry}/5].",
                STDERR,
            )
            self._timeline.wait(seconds)


def read_folder(folder: Path, name: str) -> Model:
    """A local folder, as `--model /models/…` names it."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except FileNotFoundError as error:
        raise invalid(
            "ModelConfig",
            f"Invalid repository ID or local directory specified: '{name}'.\n"
            "Please verify the following requirements:\n"
            "1. Provide a valid Hugging Face repository ID.\n"
            "2. Specify a local directory that contains a recognized configuration file.\n"
            "   - For Hugging Face models: ensure the presence of a 'config.json'.\n"
            "   - For Mistral models: ensure the presence of a 'params.json'.",
        ) from error
    heads = int(config.get("num_attention_heads", 1))
    architecture = (config.get("architectures") or ["Qwen2ForCausalLM"])[0]
    return Model(
        root=name,
        architecture=architecture,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or config.get("hidden_size", 64) // heads),
        layers=int(config.get("num_hidden_layers", 1)),
        max_position=int(config.get("max_position_embeddings", 2048)),
        size=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        chat_template=_has_chat_template(folder),
        pooling=not architecture.endswith(("ForCausalLM", "ForConditionalGeneration")),
        folder=folder,
    )


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text()).get("chat_template"))
    except OSError:
        return False


def check_weights(folder: Path) -> None:
    """Every file of weights is whole, by its own header."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise StartFailure("RuntimeError", f"Cannot find any model weights with `{folder}`")
    for path in files:
        text = _broken(path)
        if text:
            raise StartFailure(
                "safetensors._safetensors_rust.SafetensorError", f"Error while deserializing header: {text}"
            )


def _broken(path: Path) -> str | None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8:
            return "header too small"
        if 8 + length > size:
            return "invalid header length"
        header = json.loads(stream.read(length))
    end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    return None if size == 8 + length + end else "incomplete metadata, file not fully covered"


def write_folder(folder: Path, *, heads: int = 4, max_position: int = 4096, chat_template: bool = True) -> None:
    """A small model for tests and for an offline lab: the one whose start was recorded."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 256,
        "max_position_embeddings": max_position,
        "model_type": "qwen2",
        "num_attention_heads": heads,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "torch_dtype": "bfloat16",
        "vocab_size": 2000,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer = {"tokenizer_class": "Qwen2Tokenizer"}
    if chat_template:
        tokenizer["chat_template"] = (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        )
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")
    data = bytes(2 * 256 * 16)
    header = json.dumps(
        {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [16, 256], "data_offsets": [0, len(data)]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)


def _model(name: str, hub: _HubModel) -> Model:
    values = {key: value for key, value in dataclasses.asdict(hub).items() if key not in {"gib", "gated"}}
    return Model(root=name, size=int(hub.gib * GIB), **values)


def _config(model: Model) -> dict[str, object]:
    return {
        "architectures": [model.architecture],
        "head_dim": model.head_size,
        "max_position_embeddings": model.max_position,
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
    }
