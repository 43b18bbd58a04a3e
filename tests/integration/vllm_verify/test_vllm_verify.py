# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role vllm_verify on a container of the lab. The numbers are those of the pitfalls.

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from integration.boxes import Box
from lab.smoke.running import RunningLab

LATEST = "vllm/vllm-openai:latest"
RECORD = "/etc/phoenix-hypervisor/vllm-image.json"
TOKEN = "hf_averysecrettoken"
MODEL = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GPTQ-Int8"
HOLDER = f"docker run -d --name holder --gpus all {LATEST} --model {MODEL} --gpu-memory-utilization 0.9 --enforce-eager"


@pytest.fixture(scope="module")
def bare(lab: RunningLab) -> Iterator[Box]:
    one = Box(lab, 161).create()
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def box(bare: Box) -> Box:
    bare.gpus(0, 1)
    bare.converged("lxc_docker", lxc_docker_nvidia=True, lxc_docker_gpus=[0, 1])
    bare.converged("vllm_verify")
    return bare


def nothing_is_left(box: Box) -> None:
    assert box.run("docker ps --all --quiet; docker volume ls --quiet; ls /run | grep phoenix || true") == ""
    used = box.run("nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits").split()
    assert used == ["0", "0"]


def test_nothing_is_there_yet(bare: Box) -> None:
    """47: check mode predicts; a real run names what has to come first."""
    played = bare.converged("vllm_verify", "--check")
    assert played.changes == ["Have the image of vLLM"]
    assert bare.refused("vllm_verify") == (
        "Docker is not installed. Run the role lxc_docker first, and see `systemctl status docker`."
    )
    assert bare.run("ls /etc/phoenix-hypervisor 2>/dev/null || true") == ""


def test_vllm_answers_and_leaves_only_its_image(box: Box) -> None:
    """23, 39: a real completion, and the layer holds the image alone."""
    played = box.converged("vllm_verify", "-v")
    assert played.changes == []
    assert '"finish_reason": "length"' in played.output
    assert "means another image every few days" in played.output
    nothing_is_left(box)
    assert box.converged("vllm_verify", "--check").changes == []
    assert box.converged("vllm_verify", tasks_from="verify").changes == []
    nothing_is_left(box)


def test_latest_is_resolved_once(box: Box) -> None:
    """37: what is pulled again is what was resolved, whatever the tag means by then."""
    record = json.loads(box.run(f"cat {RECORD}"))
    assert record["image"].startswith("vllm/vllm-openai@sha256:")
    box.run(f"docker rmi -f {record['id']}; docker pull -q vllm/vllm-openai:v0.10.0")
    box.run(f"docker tag vllm/vllm-openai:v0.10.0 {LATEST}")
    assert box.converged("vllm_verify").changes == ["Have the image of vLLM"]
    assert json.loads(box.run(f"cat {RECORD}")) == record
    box.run(f"docker rmi vllm/vllm-openai:v0.10.0; docker tag {record['image']} {LATEST}")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"vllm_verify_gpus": "device=7"}, "There is no GPU 7 in this container. Give the container its GPUs"),
        ({"vllm_verify_runtime": "other"}, "unknown or invalid runtime name: other"),
        (
            {"vllm_verify_environment": {"CUDA_VISIBLE_DEVICES": ""}},
            "The server sees no GPU (CUDA_VISIBLE_DEVICES is empty). Give the container its GPUs",
        ),
        (
            {"vllm_verify_environment": {"VLLM_LAB_FAULTS": "out-of-memory"}},
            "The GPU's memory does not hold the model. Use a smaller or quantised model",
        ),
        (
            {"vllm_verify_gpu_memory_utilization": 0.01},
            "gpu_memory_utilization leaves no memory for the KV cache beside the model.",
        ),
        ({"vllm_verify_tensor_parallel_size": 3}, "tensor_parallel_size: 3 GPUs are wanted, and there are 2"),
        ({"vllm_verify_max_model_len": 100000}, "max_model_len: 100000 is more than the model's 32768"),
        ({"vllm_verify_args": ["--no-such-flag"]}, "vLLM refuses its command line: unrecognized arguments: --no-such"),
        ({"vllm_verify_model": "/models/none"}, "There is no directory /models/none. Put the model there"),
        ({"vllm_verify_model": "/etc/apt"}, "/etc/apt is no model: it has no config.json."),
        ({"vllm_verify_model": "no/such"}, "The model cannot be downloaded: https://huggingface.co is not reached."),
        ({"vllm_verify_offline": True}, "The model is not in the cache, and the server is offline."),
        ({"vllm_verify_model": "meta-llama/Llama-3.2-1B-Instruct"}, "Hugging Face does not hand out the model."),
        (
            {"vllm_verify_environment": {"VLLM_LAB_FAULTS": "engine-dies"}},
            "The engine of vLLM has died",
        ),
        (
            {"vllm_verify_environment": {"VLLM_LAB_FAULTS": "engine-hangs"}, "vllm_verify_request_timeout": 3},
            "The engine of vLLM hangs: POST /v1/chat/completions got no answer within 3 s.",
        ),
        (
            {"vllm_verify_environment": {"VLLM_LAB_FAULTS": "abort"}},
            "The answer of vLLM is not good: finish_reason is 'abort', not one of stop and length.",
        ),
        (
            {"vllm_verify_environment": {"VLLM_LAB_FAULTS": "no-chat-template"}},
            "has no chat template, so the server refuses to chat. Use a model that is made for chat",
        ),
        (
            {"vllm_verify_environment": {"VLLM_LAB_FAULTS": "no-listen"}, "vllm_verify_timeout": 12},
            "vLLM was not ready within 12 s",
        ),
        ({"vllm_verify_port": 0}, "vllm_verify_port: 0 is no port. Choose one from 1 to 65535."),
        ({"vllm_verify_image": "vllm/vllm-openai:v9"}, "The registry has no such image"),
        ({"vllm_verify_image": "Not An Image"}, "image: 'Not An Image' is no image. Write it as repository:tag"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:30],
)
def test_what_is_wrong_is_named(box: Box, variables: dict[str, Any], said: str) -> None:
    """39, 40: every failure says what to do, and leaves as little as a success."""
    assert said in box.refused("vllm_verify", **variables)
    nothing_is_left(box)
    assert json.loads(box.run(f"cat {RECORD}"))["reference"] == LATEST


def test_a_taken_port_is_named(box: Box) -> None:
    box.run("systemd-run --quiet --unit holder python3 -m http.server 8000; sleep 1")
    assert "test port: 8000 is taken by python3. Stop that" in box.refused("vllm_verify")
    box.run("systemctl stop holder.service")
    nothing_is_left(box)


def test_a_gpu_in_use_is_named(box: Box) -> None:
    """41: somebody else's server has the memory."""
    ready = "until docker logs holder 2>&1 | grep -q 'startup complete'; do sleep 0.2; done"
    box.run(f'{HOLDER} >/dev/null; timeout 60 sh -c "{ready}"')
    assert "GPU memory: cuda:0 has " in box.refused("vllm_verify")
    assert box.run("docker ps --format '{{.Names}}'") == "holder\n"
    box.run("docker rm -f holder")
    nothing_is_left(box)


def test_an_image_for_a_newer_cuda_is_refused(box: Box) -> None:
    box.run(f"docker create --name newer {LATEST}")
    box.run("docker commit --change 'ENV CUDA_VERSION=14.1.0' newer local/vllm:14; docker rm newer")
    record = box.run(f"cat {RECORD}")
    message = box.refused("vllm_verify", vllm_verify_image="local/vllm:14")
    assert message.startswith("local/vllm:14 is built for CUDA 14.1.0, and the driver offers 13.0. Install a newer")
    box.run(f"docker rmi local/vllm:14; cat > {RECORD} <<'EOF'\n{record}EOF")
    nothing_is_left(box)


def test_a_test_container_of_a_dead_run_is_removed(box: Box) -> None:
    box.run(f"docker create --name phoenix-vllm-trial --label phoenix.hypervisor.trial=vllm {LATEST} --model x")
    assert "A test container of an earlier run was still there" in box.converged("vllm_verify").output
    nothing_is_left(box)


def test_a_token_opens_a_gated_model_and_never_shows(box: Box) -> None:
    """48."""
    gated = {"vllm_verify_model": "meta-llama/Llama-3.2-1B-Instruct", "vllm_verify_gpu_memory_utilization": 0.4}
    played = box.converged("vllm_verify", "-vvv", vllm_verify_hf_token=TOKEN, **gated)
    task = played.output.partition("Start vLLM, ask it")[2]
    assert TOKEN not in task
    broken = {"VLLM_LAB_FAULTS": "out-of-memory"}
    message = box.role("vllm_verify", "-vvv", vllm_verify_hf_token=TOKEN, vllm_verify_environment=broken, **gated)
    assert message.failed
    assert TOKEN not in message.output.partition("Start vLLM, ask it")[2]
    assert box.run(f"journalctl --no-pager | grep -c {TOKEN} || true") == "0\n"
    nothing_is_left(box)


def test_without_a_network(box: Box) -> None:
    """An image from an archive, and a model from a directory."""
    script = "from pathlib import Path; from vllm.models import write_folder; write_folder(Path('/models/tiny'))"
    digest = json.loads(box.run(f"cat {RECORD}"))["digest"]
    box.run(f'docker run --rm --entrypoint python3 --volume /models:/models {LATEST} -c "{script}"')
    box.run(
        f"docker save --output /root/vllm.tar {LATEST}; docker rmi -f $(docker images -q vllm/vllm-openai); rm {RECORD}"
    )
    box.run("cp /etc/resolv.conf /root/resolv.conf; echo 'nameserver 127.0.0.9' > /etc/resolv.conf")
    offline = {"vllm_verify_model": "/models/tiny", "vllm_verify_served_model_name": "tiny"}
    try:
        assert "The registry is not reached" in box.refused("vllm_verify", **offline)
        missing = box.refused("vllm_verify", vllm_verify_image_archive="/root/none.tar", **offline)
        assert missing.startswith("archive: /root/none.tar is not in this container. Bring it there")
        archive = {"vllm_verify_image_archive": "/root/vllm.tar"}
        # Docker without containerd makes a manifest of its own when it saves.
        unproven = box.refused("vllm_verify", vllm_verify_image=f"{LATEST}@{digest}", **archive, **offline)
        assert unproven.startswith(f"archive: /root/vllm.tar does not prove that it has {LATEST}@{digest}: ")
        played = box.converged("vllm_verify", **archive, **offline)
        assert played.changes == ["Have the image of vLLM"]
        assert box.converged("vllm_verify", **offline).changes == []
    finally:
        box.run("cat /root/resolv.conf > /etc/resolv.conf")
    assert json.loads(box.run(f"cat {RECORD}"))["image"] == LATEST
    nothing_is_left(box)
