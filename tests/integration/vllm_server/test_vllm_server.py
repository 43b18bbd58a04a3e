# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The role vllm_server on a container of the lab. The numbers are those of the pitfalls.

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from integration.boxes import Box
from lab.smoke.running import RunningLab

KEY = "a-very-secret-key"
NAME = "Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit"
UNIT = "phoenix-vllm.service"
# It listens when it is ready, and not before.
READY = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)"
SETTINGS: dict[str, Any] = {
    "vllm_server_image": "vllm/vllm-openai:v0.25.1",
    "vllm_server_model": f"cpatonn/{NAME}",
    "vllm_server_served_model_name": NAME,
    "vllm_server_tensor_parallel_size": 2,
    "vllm_server_gpu_memory_utilization": 0.75,
    "vllm_server_max_model_len": 32768,
    "vllm_server_parameters": {"dtype": "auto", "enable_prefix_caching": True, "swap-space": 2},
    "vllm_server_args": ["--chat-template", "a $HOME that is no variable"],
    "vllm_server_environment": {"PRICE": "$5"},
    "vllm_server_api_key": KEY,
}
QUICK: dict[str, Any] = SETTINGS | {
    "vllm_server_watch_interval": 2,
    "vllm_server_request_timeout": 3,
    "vllm_server_restart_delay": 1,
    "vllm_server_restart_limit": 3,
    "vllm_server_start_timeout": 120,
}


class Server(Box):
    def shown(self, name: str) -> str:
        return self.run(f"systemctl show -P {name} {UNIT}").strip()

    def until(self, script: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self.run(f"if {script}; then echo yes; fi").strip() != "yes":
            assert time.monotonic() < deadline, self.run(f"systemctl status {UNIT} --no-pager || true")
            time.sleep(0.2)

    def fault(self, name: str) -> None:
        self.run(f"docker exec phoenix-vllm sh -c 'mkdir -p /tmp/vllm-lab; touch /tmp/vllm-lab/{name}'")

    def goes_wrong(self, fault: str) -> None:
        """The fault is switched on, and gone with the container that has it."""
        self.until(f'python3 -c "{READY}" 2>/dev/null')
        before = self.shown("InvocationID")
        self.fault(fault)
        self.until(f"[ $(systemctl show -P InvocationID {UNIT}) != {before} ] || systemctl is-failed --quiet {UNIT}")


@pytest.fixture(scope="module")
def bare(lab: RunningLab) -> Iterator[Server]:
    one = Server(lab, 162)
    one.create()
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def box(bare: Server) -> Server:
    bare.gpus(0, 1)
    bare.converged("lxc_docker", lxc_docker_nvidia=True, lxc_docker_gpus=[0, 1])
    bare.converged("vllm_server", **SETTINGS)
    return bare


def test_check_mode_predicts_where_nothing_is(bare: Server) -> None:
    """47."""
    played = bare.converged("vllm_server", "--check", "--diff", **SETTINGS)
    assert "Write the compose project" in played.changes
    assert KEY not in played.output.replace(json.dumps(SETTINGS), "")
    assert bare.run("ls -d /etc/phoenix* /etc/systemd/system/phoenix* 2>/dev/null || true") == ""


def test_it_serves_and_a_second_run_changes_nothing(box: Server) -> None:
    """38, 39."""
    started = box.shown("InvocationID")
    assert box.converged("vllm_server", **SETTINGS).changes == []
    assert box.converged("vllm_server", "--check", **SETTINGS).changes == []
    assert box.converged("vllm_server", tasks_from="verify", **SETTINGS).changes == []
    assert box.shown("InvocationID") == started
    used = box.run("nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits").split()
    assert all(int(mib) > 12000 for mib in used), used
    after = box.shown("After").split()
    assert {"docker.service", "phoenix-nvidia-cdi.service"} <= set(after)
    assert "a $HOME that is no variable" in box.run("docker inspect phoenix-vllm")
    assert '"PRICE=$5"' in box.run("docker inspect phoenix-vllm")


def test_the_key_is_wanted_and_never_shows(box: Server) -> None:
    """48."""
    assert box.refused("vllm_server", tasks_from="verify", **(SETTINGS | {"vllm_server_api_key": "other"})) == (
        "The server refuses the API key. Give the key that the server was started with."
    )
    assert box.run("stat -c '%a %U' /etc/phoenix-vllm/secrets.env") == "600 root\n"
    assert box.run("ps axww -o args | grep -c very-secre[t] || true") == "0\n"
    assert box.run("journalctl --no-pager | grep -c very-secre[t] || true") == "0\n"


def test_a_changed_setting_restarts_it(box: Server) -> None:
    """38: and nothing else does."""
    changed = SETTINGS | {"vllm_server_port": 8100, "vllm_server_max_model_len": 16384}
    played = box.converged("vllm_server", **changed)
    assert played.changes == [
        "Write the compose project",
        "Write the units of the watch",
        "Restart the server",
        "Restart the timer",
    ]
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8100/health').status)"
    assert box.run(f'python3 -c "{ask}"').strip() == "200"
    started = box.shown("InvocationID")
    played = box.converged("vllm_server", **(changed | {"vllm_server_watch_interval": 30}))
    assert played.changes == ["Write the units of the watch", "Restart the timer"]
    assert box.shown("InvocationID") == started


def test_it_comes_back_when_its_container_does(box: Server) -> None:
    box.converged("vllm_server", **SETTINGS)
    box.lab.exec("pct", "reboot", str(box.ctid))
    box.until(f"systemctl is-active --quiet {UNIT}")
    assert box.converged("vllm_server", **SETTINGS).changes == []


def test_a_boot_does_not_wait_for_the_model(box: Server) -> None:
    """39: who waits until the container is up would wait for a server that never listens, which the watch restarts."""
    never = {"vllm_server_environment": {"VLLM_LAB_FAULTS": "no-listen"}, "vllm_server_start_timeout": 20}
    assert box.refused("vllm_server", **(QUICK | never)).startswith("vLLM was not ready within 20 s (")
    box.lab.exec("pct", "reboot", str(box.ctid))
    box.until("systemctl is-system-running | grep -qE 'running|degraded'")
    box.until(f"systemctl is-active --quiet {UNIT}")
    assert box.run(f'python3 -c "{READY}" 2>/dev/null || echo no') == "no\n"
    before = box.shown("InvocationID")
    box.until(f"[ $(systemctl show -P InvocationID {UNIT}) != {before} ]", 120)
    assert f"{UNIT} is restarted" in box.run("journalctl -b -u phoenix-vllm-watch -o cat --no-pager")


def test_the_watch_can_be_switched_off(box: Server) -> None:
    box.converged("vllm_server", **QUICK)
    started = box.shown("InvocationID")
    off = QUICK | {"vllm_server_watch_interval": 0}
    removed = ["Stop the watch", "Remove the units of the watch"]
    assert box.converged("vllm_server", "--check", **off).changes == removed
    assert box.converged("vllm_server", **off).changes == removed
    assert box.run("find /etc/systemd/system -name 'phoenix-vllm-watch*'") == ""
    assert box.run("systemctl is-active phoenix-vllm-watch.timer || true") == "inactive\n"
    assert box.converged("vllm_server", **off).changes == []
    assert box.converged("vllm_server", "--check", **off).changes == []
    assert box.converged("vllm_server", **QUICK).changes == [
        "Write the units of the watch",
        "Enable the watch",
        "Restart the timer",
    ]
    assert box.run("systemctl is-active phoenix-vllm-watch.timer") == "active\n"
    assert box.shown("InvocationID") == started


def test_a_server_that_has_much_to_do_is_left_alone(box: Server) -> None:
    """39: its completions take longer than the watch waits, and are in the making."""
    box.converged("vllm_server", **(QUICK | {"vllm_server_request_timeout": 2}))
    started = box.shown("InvocationID")
    said = "journalctl -u phoenix-vllm-watch -o cat --no-pager | grep -c 'is busy and not restarted'"
    before = int(box.run(f"{said} || true"))
    box.fault("slow-tokens")
    box.until(f"[ $({said} || true) -ge {before + 2} ]")
    assert box.shown("InvocationID") == started
    box.run("docker exec phoenix-vllm rm /tmp/vllm-lab/slow-tokens")


def test_an_engine_that_dies_or_hangs_is_restarted_but_not_for_ever(box: Server) -> None:
    """39: the server ends with 0, or /health still says 200."""
    box.converged("vllm_server", **QUICK)
    box.goes_wrong("engine-dies")
    box.goes_wrong("engine-hangs")
    assert "engine-hangs: The engine of vLLM hangs: POST /v1/chat" in box.run(
        "journalctl -u phoenix-vllm-watch -o cat --no-pager"
    )
    box.goes_wrong("engine-dies")
    box.until(f"systemctl is-failed --quiet {UNIT}")
    assert box.shown("Result") == "start-limit-hit"
    assert box.run("docker ps --all --quiet") == ""
    assert box.converged("vllm_server", **QUICK).changes == [
        "Let a server that was given up try again",
        "Start the server",
    ]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"vllm_server_args": ["--no-such-flag"]}, "vLLM refuses its command line: unrecognized arguments: --no-such"),
        ({"vllm_server_model": "/models/none"}, "There is no directory /models/none. Put the model there"),
        ({"vllm_server_gpu_memory_utilization": 0.05}, "gpu_memory_utilization leaves no memory for the KV cache"),
        ({"vllm_server_device": "nvidia.com/gpu=7"}, "The CDI specification has no nvidia.com/gpu=7."),
        (
            {"vllm_server_environment": {"VLLM_LAB_FAULTS": "out-of-memory"}},
            "The GPU's memory does not hold",
        ),
        ({"vllm_server_args": ["--api-key", "x"]}, 'vllm_server_args: ["--api-key", "x"] has a key, which the log'),
        ({"vllm_server_api_key": "with space"}, "one has a letter that cannot stand in a header"),
    ],
    ids=["flag", "model", "cache", "device", "memory", "key in argv", "key"],
)
def test_what_is_wrong_is_named(box: Server, variables: dict[str, Any], said: str) -> None:
    assert said in box.refused("vllm_server", **(QUICK | variables))


def test_a_taken_port_is_named(box: Server) -> None:
    box.converged("vllm_server", **QUICK)
    box.run("systemd-run --quiet --unit holder python3 -m http.server 8300; sleep 1")
    message = box.refused("vllm_server", **(QUICK | {"vllm_server_port": 8300}))
    assert message.startswith("Port 8300 is taken. See with `ss -ltnp` and `docker ps` who has it")
    box.run("systemctl stop holder.service")


def test_without_gpus_it_is_named(box: Server) -> None:
    box.node(
        {"phoenix.hypervisor.lxc_gpu_passthrough": {"ctid": box.ctid, "gpus": []}},
        {"phoenix.hypervisor.lxc_container": {"ctid": box.ctid, "state": "restarted", "wait": "network"}},
    )
    message = box.refused("vllm_server", **QUICK)
    assert message.startswith("The CDI specification has no nvidia.com/gpu=all. Give the container its GPUs")
