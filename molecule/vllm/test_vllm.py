# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

KEY = "key-of-the-scenario"
UNIT = "phoenix-vllm.service"
URL = "http://127.0.0.1:8100"
ASKED = json.dumps({"model": "coder", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8})
RECORD = "/etc/phoenix-hypervisor/vllm-image.json"


@pytest.fixture(scope="module")
def stages(inside) -> dict[str, list[str]]:
    """The journal's lines from one mark of the side effects to the next."""
    lines = inside(151).check_output(
        "journalctl --boot --output=cat --no-pager SYSLOG_IDENTIFIER=scenario + UNIT=%s"
        " + _SYSTEMD_UNIT=phoenix-vllm-watch.service",
        UNIT,
    )
    found: dict[str, list[str]] = {"": []}
    mark = ""
    for line in lines.splitlines():
        if line.startswith(("setting: ", "fault: ")):
            found[mark := line] = []
        else:
            found[mark].append(line)
    return found


def starts(lines: list[str]) -> int:
    return sum(line.startswith(f"Started {UNIT}") for line in lines)


def test_the_trial_has_left_no_container_and_nothing_that_listens(inside) -> None:
    assert not inside(150).check_output("docker ps --all --quiet")
    assert not inside(150).socket("tcp://0.0.0.0:8010").is_listening
    assert not inside(150).check_output("docker volume ls --quiet")


def test_its_image_is_recorded_by_its_digest_and_there(inside) -> None:
    record = json.loads(inside(150).file(RECORD).content_string)
    assert record["reference"] == "vllm/vllm-openai:latest"
    assert record["image"].startswith("vllm/vllm-openai@sha256:")
    assert record["image"] in json.loads(
        inside(150).check_output("docker image inspect --format '{{json .RepoDigests}}' %s", record["id"])
    )


def test_the_clone_serves_the_very_image_that_was_tried(inside) -> None:
    record = json.loads(inside(150).file(RECORD).content_string)
    assert inside(151).check_output("docker inspect --format '{{.Config.Image}}' phoenix-vllm") == record["image"]


def test_the_unit_is_started_at_boot_after_docker_and_the_devices(inside) -> None:
    service = inside(151).service(UNIT)
    assert service.is_enabled
    assert service.is_running
    after = inside(151).check_output("systemctl show -P After %s", UNIT).split()
    assert {"docker.service", "phoenix-nvidia-cdi.service"} <= set(after)


def test_what_compose_runs_is_what_the_fleet_says(inside) -> None:
    said = inside(151).check_output("docker compose --project-directory /etc/phoenix-vllm config --format json")
    server = json.loads(said)["services"]["vllm"]
    words = server["command"]
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--model"] == "cpatonn/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit"
    assert options["--served-model-name"] == "coder"
    assert options["--tensor-parallel-size"] == "2"
    assert options["--gpu-memory-utilization"] == "0.75"
    # 32768 before the side effects.
    assert options["--max-model-len"] == "16384"
    assert [port["published"] for port in server["ports"]] == ["8100"]


def test_it_answers_who_has_the_key(inside) -> None:
    answer = json.loads(
        inside(151).check_output(
            "curl -sf -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d %s %s",
            KEY, ASKED, f"{URL}/v1/chat/completions",
        )
    )  # fmt: skip
    assert answer["model"] == "coder"
    assert answer["choices"][0]["message"]["content"]


def test_it_answers_nobody_else(inside) -> None:
    said = inside(151).check_output("curl -s -o /dev/null -w '%%{http_code}' %s", f"{URL}/v1/models")
    assert said == "401"


def test_the_key_lies_where_only_root_reads_it(inside) -> None:
    secrets = inside(151).file("/etc/phoenix-vllm/secrets.env")
    assert (secrets.mode, secrets.user) == (0o600, "root")
    assert secrets.contains(KEY)
    assert not inside(151).file("/etc/phoenix-vllm/compose.yaml").contains(KEY)
    assert not inside(151).file(f"/etc/systemd/system/{UNIT}").contains(KEY)


def test_the_key_is_in_no_command_line_and_in_no_log(inside) -> None:
    # The container's own sh has the word in its command line: it is written so that it does not find itself.
    hidden = f"{KEY[:-1]}[{KEY[-1]}]"
    for place in ("cat /proc/[0-9]*/cmdline 2>/dev/null", "journalctl --no-pager", "docker logs phoenix-vllm 2>&1",
                  "docker inspect --format '{{json .Args}} {{json .Config.Cmd}}' phoenix-vllm"):  # fmt: skip
        assert inside(151).check_output(f"{{ {place}; }} | grep -a -c '{hidden}' || true") == "0", place


def test_another_setting_restarts_it_exactly_once(stages) -> None:
    assert starts(stages["setting: other"]) == 1


def test_the_same_setting_does_not(stages) -> None:
    assert starts(stages["setting: same"]) == 0


def test_a_server_with_much_to_do_is_left_alone(stages) -> None:
    lines = stages["fault: slow-tokens"]
    assert any(line.startswith(f"{UNIT} is busy and not restarted") for line in lines)
    assert starts(lines) == 0


def test_an_engine_that_dies_is_replaced(stages) -> None:
    lines = stages["fault: engine-dies"]
    assert f"{UNIT}: Deactivated successfully." in lines
    assert not any("Failed with result" in line for line in lines)
    assert starts(lines) == 1


def test_an_engine_that_hangs_is_noticed_and_replaced(stages) -> None:
    lines = stages["fault: engine-hangs"]
    assert any("engine-hangs: The engine of vLLM hangs" in line for line in lines)
    assert f"{UNIT} is restarted" in lines
    assert starts(lines) == 1
