# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in of the vLLM server: what a real one prints, answers and dies of, without a model.

It is copied into the lab's vllm/vllm-openai images as the package `vllm`. What it says was recorded from vLLM 0.25.1
(facts/vllm.md). It really needs an injected GPU: memory is taken through libcuda and shows on the node.

VLLM_LAB_TIME_SCALE  times of start and failures as a share of the recorded ones: default 0.075 (ready after 3 s)
VLLM_LAB_FAULTS      names of switches (below), separated by commas; or a file of that name in the folder
VLLM_LAB_FOLDER      of such files, looked at all the time, default /tmp/vllm-lab (mkdir and touch by docker exec)

engine-dies          the engine kills itself: 503 for a while, then the server exits with 0
engine-hangs         the engine stops itself: /health still 200, completions hang (kill -STOP and -KILL do the same)
slow-tokens          0.2 s for each token, so that requests are in flight when something happens
out-of-memory        CUDA runs out of memory while the model is built
no-listen            says "Application startup complete." and does not listen
no-chat-template     as a model whose tokenizer has none: chat is refused with 400
abort                every answer is 200 with finish_reason "abort"
"""

from __future__ import annotations
