#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_trial
short_description: Start a vLLM server from an image, ask it for a completion, and leave nothing behind
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Proves that vLLM works on a machine with Docker and GPUs. Starts a test container, waits until it answers, checks a
    completion in every part, and sees that the GPUs took part in it.
  - Whatever happens, the test container is removed, with its anonymous volumes and the model that it downloaded, and
    the memory of the GPUs has to be given back.
  - A failure is named by what Docker and vLLM say, and comes with what to do about it.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
    details: Starts nothing, and says so in RV(skipped_reason).
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Never reports a change, since nothing is left of it.
  platform:
    platforms: linux
    support: full
    details: Runs where Docker and the GPUs are, mostly inside a container, as root.
options:
  image:
    description: The image. It has to be there already, and is not pulled.
    type: str
    required: true
  model:
    description: The model, a name on Hugging Face or a directory, which is mounted read-only at the same path.
    type: str
    required: true
  served_model_name:
    description: The name under which it is served, O(model) by default.
    type: str
  port:
    description: The port to publish it at, on the loopback interface only.
    type: int
    default: 8000
  kind:
    description: What the model makes.
    type: str
    choices: [chat, embedding]
    default: chat
  args:
    description: Further words for vLLM's command line.
    type: list
    elements: str
    default: []
  tensor_parallel_size:
    description: Over how many GPUs the model is spread.
    type: int
    default: 1
  runtime:
    description: Docker's runtime. Empty is Docker's default.
    type: str
    default: nvidia
  gpus:
    description: Docker's C(--gpus). Empty leaves it out.
    type: str
    default: all
  ipc:
    description: Docker's C(--ipc). Empty leaves it out.
    type: str
    default: host
  offline:
    description: Whether nothing may be downloaded. Always so when O(model) is a directory.
    type: bool
    default: false
  environment:
    description: Variables for the server.
    type: dict
    default: {}
  hf_token:
    description: A token for Hugging Face. It reaches the server through a file, and never shows.
    type: str
  timeout:
    description: After how many seconds the server has to have answered.
    type: int
    default: 900
  request_timeout:
    description: How many seconds one completion may take.
    type: int
    default: 60
  memory_tolerance_mib:
    description: By how much the memory in use may differ, on each GPU, and still count as given back.
    type: int
    default: 100
"""

EXAMPLES = r"""
- name: VLLM works here
  phoenix.hypervisor.vllm_trial:
    image: vllm/vllm-openai:v0.25.1
    model: Qwen/Qwen2.5-Coder-0.5B-Instruct-GPTQ-Int8
    args: [--gpu-memory-utilization, "0.3", --max-model-len, "2048"]
"""

RETURN = r"""
skipped_reason:
  description: Why nothing was tried, V(null) when it was.
  type: str
  returned: success
seconds:
  description: After how many seconds the server answered.
  type: float
  returned: when it was tried
answer:
  description: What it answered.
  type: dict
  returned: when it was tried
  contains:
    model: {description: The model that answered., type: str}
    text: {description: What it said., type: str}
    finish_reason: {description: Why it stopped., type: str}
    usage: {description: "How many tokens: prompt, completion, total.", type: dict}
gpu_memory_mib:
  description: How much memory it took of which GPU.
  type: dict
  returned: when it was tried
  sample: {GPU-058fc8ec-8f6c-585b-8c93-401baa844c6e: 4893}
problem:
  description:
    - The name of what is wrong, for example V(no-gpu), V(out-of-memory), V(gpu-memory-taken), V(port-taken),
      V(cuda-mismatch), V(model-not-found), V(model-offline), V(model-access), V(engine-died), V(engine-hangs),
      V(bad-answer), V(too-slow) or V(unknown).
  type: str
  returned: failure
cause:
  description: The line of the log that the failure comes from.
  type: str
  returned: when a server failed
log_tail:
  description: The last lines of the log, without keys.
  type: list
  elements: str
  returned: when a server failed
code:
  description: The kind of a failure. 1 is general, 2 invalid input, 4 verification.
  type: int
  returned: failure
reason:
  description: What is wrong.
  type: str
  returned: failure
remedy:
  description: What to do about a failure.
  type: str
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_trial import Request, Trial


def request_of(params: dict[str, t.Any]) -> Request:
    """vLLM's command line and environment, from what the user said."""
    local = params["model"].startswith("/")
    offline = params["offline"] or local
    served = params["served_model_name"] or params["model"]
    size = params["tensor_parallel_size"]
    command = ["--model", params["model"], "--served-model-name", served]
    if size > 1:
        command += ["--tensor-parallel-size", str(size)]
    variables = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if offline else {}
    variables |= {name: str(value) for name, value in params["environment"].items()}
    return Request(
        image=params["image"],
        served_model_name=served,
        port=params["port"],
        kind=params["kind"],
        command=[*command, *params["args"]],
        runtime=params["runtime"],
        gpus=params["gpus"],
        ipc=params["ipc"],
        model_directory=params["model"] if local else "",
        environment=variables,
        secrets={"HF_TOKEN": params["hf_token"]} if params["hf_token"] else {},
        expected_gpus=size,
        timeout=params["timeout"],
        request_timeout=params["request_timeout"],
        memory_tolerance_mib=params["memory_tolerance_mib"],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "model": {"type": "str", "required": True},
            "served_model_name": {"type": "str"},
            "port": {"type": "int", "default": 8000},
            "kind": {"type": "str", "choices": ["chat", "embedding"], "default": "chat"},
            "args": {"type": "list", "elements": "str", "default": []},
            "tensor_parallel_size": {"type": "int", "default": 1},
            "runtime": {"type": "str", "default": "nvidia"},
            "gpus": {"type": "str", "default": "all"},
            "ipc": {"type": "str", "default": "host"},
            "offline": {"type": "bool", "default": False},
            "environment": {"type": "dict", "default": {}},
            "hf_token": {"type": "str", "no_log": True},
            "timeout": {"type": "int", "default": 900},
            "request_timeout": {"type": "int", "default": 60},
            "memory_tolerance_mib": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, skipped_reason="Nothing is started in check mode.")
    with reporting(module.fail_json):
        result = Trial(request_of(module.params)).run()
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
