#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_check
short_description: Wait until a vLLM server answers a completion, and say why it does not
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Waits for a server that a systemd unit runs. It has to run, to answer C(/health), to serve the model under its name,
    and to answer a completion, which is checked in every part. Nothing less proves that the engine works.
  - Ends as soon as the unit has failed or has been restarted, and names the failure by what Docker and vLLM wrote to
    the journal, with what to do about it.
  - Changes nothing.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
    details: Asks a server that runs, and says in RV(skipped_reason) when there is none yet.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Never reports a change.
  platform:
    platforms: linux
    support: full
    details: Runs where the server is, mostly inside a container, as root.
options:
  unit:
    description: The systemd unit of the server.
    type: str
    required: true
  model:
    description: The name under which the model is served.
    type: str
    required: true
  port:
    description: The port of the server.
    type: int
    default: 8000
  host:
    description: The address of the server.
    type: str
    default: 127.0.0.1
  kind:
    description: What the model makes.
    type: str
    choices: [chat, embedding]
    default: chat
  max_model_len:
    description: The longest context that the server has to have. Without it any will do.
    type: int
  api_key:
    description: The key of the server.
    type: str
  timeout:
    description: After how many seconds the server has to have answered.
    type: int
    default: 900
  request_timeout:
    description: How many seconds one completion may take.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: The server answers
  phoenix.hypervisor.vllm_check:
    unit: phoenix-vllm.service
    model: Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit
    api_key: "{{ vault_vllm_api_key }}"
"""

RETURN = r"""
skipped_reason:
  description: Why nothing was asked, V(null) when it was.
  type: str
  returned: success
seconds:
  description: After how many seconds the server answered.
  type: float
  returned: when it was asked
answer:
  description: What it answered.
  type: dict
  returned: when it was asked
  contains:
    model: {description: The model that answered., type: str}
    text: {description: "What it said, which may be nothing: terse models exist.", type: str}
    finish_reason: {description: Why it stopped., type: str}
    usage: {description: "How many tokens: prompt, completion, total.", type: dict}
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._run import Clock
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_api import Server
from ansible_collections.phoenix.hypervisor.plugins.module_utils._vllm_server import InUnit, as_json, wait_ready


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "model": {"type": "str", "required": True},
            "port": {"type": "int", "default": 8000},
            "host": {"type": "str", "default": "127.0.0.1"},
            "kind": {"type": "str", "choices": ["chat", "embedding"], "default": "chat"},
            "max_model_len": {"type": "int"},
            "api_key": {"type": "str", "no_log": True},
            "timeout": {"type": "int", "default": 900},
            "request_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    key = given["api_key"] or ""
    unit = InUnit(given["unit"])
    server = Server(given["port"], given["model"], given["kind"], given["host"], key, given["request_timeout"])
    with reporting(module.fail_json):
        if module.check_mode and not unit.state().alive:
            module.exit_json(changed=False, skipped_reason=f"{unit.name} does not run yet.")
        ready = wait_ready(
            server,
            unit,
            timeout=given["timeout"],
            clock=Clock(),
            max_model_len=given["max_model_len"],
            secrets=[key],
        )
    module.exit_json(changed=False, skipped_reason=None, seconds=ready.seconds, answer=as_json(ready.answer))


if __name__ == "__main__":
    main()
