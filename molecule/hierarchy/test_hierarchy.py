# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest

LAYERS = {
    900: "base-snapshot",
    901: "gpu-snapshot",
    902: "docker-snapshot",
    903: "docker-gpu-snapshot",
    920: "vllm-base-snapshot",
}
PARENTS = {901: 900, 902: 900, 903: 902, 920: 903, 950: 920, 960: 901, 961: 900}
CONTAINERS = [900, *PARENTS]
WITH_GPUS = [901, 903, 920, 950]
WITH_DOCKER = [902, 903, 920, 950]
MODEL = "Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit"
SECRETS = ("key-that-nobody-may-see", "token-that-nobody-may-see")


def root_of(ctid, snapshot=""):
    """The folder on the node that is a container's root, or what a snapshot keeps of it."""
    return f"/rpool/lab/images/{ctid}/subvol-{ctid}-disk-0.subvol" + (f"@{snapshot}" if snapshot else "")


def metadata(section):
    """What the collection wrote into a snapshot's description, after the text for people."""
    (line,) = (line for line in section.lines if line.startswith("#phoenix%3A "))
    return json.loads(unquote(line).removeprefix("#phoenix: "))


@pytest.fixture(scope="module")
def settings(fleet):
    """What the inventory says of a container, by its id."""
    return {host["phoenix_ctid"]: host for host in fleet.values()}


def test_all_containers_are_there_and_no_others(node) -> None:
    listed = node.check_output("pct list").splitlines()[1:]
    assert sorted(int(line.split()[0]) for line in listed) == sorted(CONTAINERS)


@pytest.mark.parametrize("ctid", CONTAINERS)
def test_it_runs(status, inside, ctid) -> None:
    assert status(ctid) == "running"
    assert inside(ctid).check_output("systemctl is-system-running || true") in ("running", "degraded")


@pytest.mark.parametrize("ctid", CONTAINERS)
def test_a_layer_has_its_snapshot_and_an_application_none(snapshots, ctid) -> None:
    assert snapshots(ctid) == ([LAYERS[ctid]] if ctid in LAYERS else [])


@pytest.mark.parametrize("ctid", LAYERS)
def test_a_snapshot_says_what_it_was_made_from(config, settings, ctid) -> None:
    sealed = config(ctid).snapshots[LAYERS[ctid]]
    features = ", ".join(settings[ctid]["phoenix_features"])
    # The node's file has it encoded.
    assert unquote(sealed.lines[0]) == f"#{settings[ctid]['inventory_hostname']}: {features}"
    made_from = metadata(sealed)
    assert re.fullmatch("[0-9a-f]{16}", made_from["fingerprint"])
    if ctid in PARENTS:
        parent = config(PARENTS[ctid]).snapshots[LAYERS[PARENTS[ctid]]]
        assert made_from["parent"] == metadata(parent)["fingerprint"]


@pytest.mark.parametrize("ctid", LAYERS)
def test_nothing_is_sealed_that_does_not_belong(node, ctid) -> None:
    sealed = root_of(ctid, LAYERS[ctid])
    assert node.file(f"{sealed}/etc/os-release").exists
    assert node.file(f"{sealed}/etc/machine-id").size == 0
    rest = (
        f"find {sealed}/etc/ssh -name 'ssh_host_*'; find {sealed}/var/lib/apt/lists -type f ! -name lock;"
        f"find {sealed}/var/cache/apt/archives -name '*.deb'; find {sealed}/tmp {sealed}/root/.ansible -type f;"
        f"find {sealed}/var/log/apt {sealed}/var/log/dpkg.log {sealed}/var/log/journal -type f -size +0;"
        f"find {sealed}/var/lib/docker/engine-id; find {sealed}/var/lib/docker/containers -mindepth 1"
    )
    assert node.run(rest).stdout == ""


@pytest.mark.parametrize(
    ("ctid", "images"),
    [
        (902, {"hello-world"}),
        (903, {"nvidia/cuda"}),
        (920, {"nvidia/cuda", "vllm/vllm-openai"}),
        (950, {"nvidia/cuda", "vllm/vllm-openai"}),
    ],
)
def test_only_the_images_that_belong_are_there(inside, ctid, images) -> None:
    assert set(inside(ctid).check_output("docker images --format '{{.Repository}}'").split()) == images


@pytest.mark.parametrize("ctid", [902, 903, 920])
def test_no_docker_container_is_left_in_a_layer(inside, ctid) -> None:
    assert inside(ctid).check_output("docker ps --all --quiet") == ""


@pytest.mark.parametrize(
    "command",
    ["cat /etc/machine-id", "cat /etc/ssh/ssh_host_ed25519_key.pub", "docker info --format '{{.ID}}'"],
    ids=["machine id", "ssh host key", "docker id"],
)
def test_no_two_containers_share_an_identity(inside, command) -> None:
    ctids = WITH_DOCKER if command.startswith("docker") else CONTAINERS
    found = [inside(ctid).run(command).stdout.strip() for ctid in ctids]
    assert all(found)
    assert len(set(found)) == len(ctids)


@pytest.mark.parametrize("ctid", CONTAINERS)
def test_it_is_configured_as_the_fleet_says(config, settings, inside, ctid) -> None:
    main, wanted = config(ctid).main, settings[ctid]["phoenix_container"]
    network = wanted["networks"][0]
    assert (main["hostname"], main["cores"], main["memory"], main["swap"]) == (
        settings[ctid]["inventory_hostname"],
        str(wanted["cores"]),
        str(wanted["memory_mb"]),
        str(wanted["swap_mb"]),
    )
    assert f"size={wanted['rootfs']['size_gb']}G" in main["rootfs"]
    assert "unprivileged" not in main.values
    given = dict(part.split("=", 1) for part in main["net0"].split(","))
    assert (given["ip"], given["gw"], given["bridge"]) == (network["ip"], network["gw"], "vmbr0")
    assert given["hwaddr"].upper() == network.get("hwaddr", given["hwaddr"]).upper()
    assert network["ip"] in inside(ctid).check_output("ip -oneline -4 address show eth0")


def test_addresses_are_not_shared(config) -> None:
    addresses = [
        re.search(f"{key}=([^,]+)", config(ctid).main["net0"])[1] for ctid in CONTAINERS for key in ("ip", "hwaddr")
    ]
    assert len(set(addresses)) == 2 * len(CONTAINERS)


@pytest.mark.parametrize("ctid", CONTAINERS)
def test_it_sees_exactly_its_gpus(node, inside, config, ctid) -> None:
    on_node = node.check_output("nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    assert len(on_node) == 2
    if ctid in WITH_GPUS:
        assert inside(ctid).check_output("nvidia-smi --query-gpu=uuid --format=csv,noheader").split() == on_node
    else:
        assert not inside(ctid).check_output("find /dev -name 'nvidia*'")
        assert "nvidia" not in "\n".join(config(ctid).main.lines)


@pytest.mark.parametrize("ctid", WITH_GPUS)
def test_the_driver_is_the_one_of_the_node(node, inside, ctid) -> None:
    version = re.search(r"Module for x86_64  (\S+)", node.file("/proc/driver/nvidia/version").content_string)[1]
    assert version == "580.76.05"
    query = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"
    assert set(inside(ctid).check_output(query).split()) == {version}
    # apt has brought no second one.
    packages = (
        inside(ctid).check_output("dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\\n'").split("\n")
    )
    assert "ii dpkg" in packages
    assert not [line for line in packages if re.match("ii (libnvidia-compute|nvidia-driver|cuda-drivers)", line)]


@pytest.mark.parametrize("ctid", WITH_GPUS)
def test_it_has_cuda_12_8_and_its_tools(inside, ctid) -> None:
    assert "release 12.8" in inside(ctid).check_output("/usr/local/cuda/bin/nvcc --version")
    assert inside(ctid).package("nvtop").is_installed


@pytest.mark.parametrize("ctid", WITH_DOCKER)
def test_docker_is_set_up(inside, ctid) -> None:
    container = inside(ctid)
    assert container.service("docker").is_running
    assert container.service("docker").is_enabled
    info = json.loads(container.check_output("docker info --format '{{json .}}'"))
    assert info["Driver"] in ("overlay2", "overlayfs")
    assert info["DefaultRuntime"] == "runc"
    assert ("nvidia" in info["Runtimes"]) == (ctid in WITH_GPUS)


@pytest.mark.parametrize("ctid", [903, 920, 950])
def test_docker_learns_at_every_boot_which_gpus_there_are(inside, ctid) -> None:
    container = inside(ctid)
    assert container.service("phoenix-nvidia-cdi").is_enabled
    assert "docker.service" in container.check_output("systemctl show --property Before --value phoenix-nvidia-cdi")
    devices = set(
        re.findall(r"^  *-? *name: \"?([^\"\n]+)", container.file("/run/cdi/nvidia.yaml").content_string, re.MULTILINE)
    )
    assert {"0", "1", "all"} <= devices


@pytest.mark.parametrize("ctid", [920, 950])
def test_the_image_of_vllm_is_recorded_by_its_digest(inside, ctid) -> None:
    container = inside(ctid)
    record = json.loads(container.file("/etc/phoenix-hypervisor/vllm-image.json").content_string)
    assert record["reference"] == "vllm/vllm-openai:v0.25.1"
    assert record["image"] == f"vllm/vllm-openai@{record['digest']}"
    digests = container.check_output("docker images --digests --format '{{.Digest}}'").split()
    assert record["digest"] in digests


def test_the_server_runs_that_image(inside) -> None:
    server = inside(950)
    record = json.loads(server.file("/etc/phoenix-hypervisor/vllm-image.json").content_string)
    assert server.check_output("docker inspect phoenix-vllm --format '{{.Config.Image}}'") == record["image"]


def test_the_server_is_a_service(inside) -> None:
    for unit in ("phoenix-vllm.service", "phoenix-vllm-watch.timer"):
        assert inside(950).service(unit).is_running
        assert inside(950).service(unit).is_enabled


def test_the_server_has_what_was_configured_and_nothing_else(inside) -> None:
    command = json.loads(inside(950).check_output("docker inspect phoenix-vllm --format '{{json .Config.Cmd}}'"))
    options = dict(zip(command[::2], command[1::2], strict=True))
    assert options == {
        "--model": "cpatonn/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit",
        "--served-model-name": MODEL,
        "--tensor-parallel-size": "2",
        "--gpu-memory-utilization": "0.75",
        "--max-model-len": "32768",
        "--dtype": "auto",
    }


@pytest.mark.parametrize(("key", "answered"), [(SECRETS[0], "200"), ("another", "401")])
def test_the_model_answers_at_the_containers_address(node, settings, key, answered) -> None:
    address = settings[950]["phoenix_container"]["networks"][0]["ip"].partition("/")[0]
    question = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 16}
    done = node.run(
        "curl --silent --max-time 30 --write-out '\\n%%{http_code}' --header 'Content-Type: application/json' "
        "--header %s --data %s %s",
        f"Authorization: Bearer {key}",
        json.dumps(question),
        f"http://{address}:8000/v1/chat/completions",
    )
    body, _newline, code = done.stdout.rpartition("\n")
    assert code == answered
    if answered == "200":
        answer = json.loads(body)
        assert answer["model"] == MODEL
        assert answer["choices"][0]["message"]["content"]


def test_keys_are_on_no_command_line_and_in_no_log(node, inside) -> None:
    for secret in SECRETS:
        # The node sees the processes of its containers.
        assert secret not in node.check_output("ps -e -ww -o args")
        # As it was after converge: these tests themselves name the keys.
        assert secret not in node.file("/run/phoenix-built.jsonl").content_string
        assert secret not in inside(950).check_output("journalctl --no-pager --output cat")
        assert secret not in inside(950).check_output("docker logs phoenix-vllm 2>&1")
        assert inside(950).run(f"grep --recursive --files-with-matches {secret} /etc").stdout.split() == [
            "/etc/phoenix-vllm/secrets.env"
        ]


def test_keys_are_read_by_root_only(inside) -> None:
    assert inside(950).file("/etc/phoenix-vllm/secrets.env").mode == 0o600
