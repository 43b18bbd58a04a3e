# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.vendors.toolkit import arguments, cdi_hook, cli, ctk, docker_config, hook, runtime, settings
from lab.vendors.toolkit.driver import Driver
from lab.vendors.toolkit.log import Log, ToolkitError

DEFAULT = settings.load(Path("/nonexistent"))
GPU_HOOK = {"path": "/usr/bin/nvidia-container-runtime-hook", "args": ["nvidia-container-runtime-hook", "prestart"]}


# nvidia-ctk config


def test_default_configuration() -> None:
    lines = settings.render(DEFAULT).splitlines()
    assert lines[0] == "#accept-nvidia-visible-devices-as-volume-mounts = false"
    assert "#no-cgroups = false" in lines
    assert [line for line in lines if line.startswith("[")] == [
        "[nvidia-container-cli]",
        "[nvidia-container-runtime]",
        "[nvidia-container-runtime.modes]",
        "[nvidia-container-runtime.modes.cdi]",
        "[nvidia-container-runtime.modes.csv]",
        "[nvidia-container-runtime.modes.legacy]",
        "[nvidia-container-runtime-hook]",
        "[nvidia-ctk]",
    ]


def test_a_setting_that_was_made_stays_made(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "config.toml"
    for value in ("true", "false"):
        assert (
            ctk.main(
                ["config", f"--config-file={file}", "--set", f"nvidia-container-cli.no-cgroups={value}", "-i"], "1"
            )
            == 0
        )
        assert f"\nno-cgroups = {value}\n" in file.read_text()
        assert settings.load(file)["nvidia-container-cli.no-cgroups"] is (value == "true")
    before = file.read_text()
    assert ctk.main(["config", f"--config={file}", "--in-place"], "1") == 0
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("nvidia-container-cli.nocgroups=true", 'invalid config option: undefined field: "nocgroups"'),
        ("no-cgroups=true", 'invalid config option: undefined field: "no-cgroups"'),
        ("nvidia-container-runtime.mode", "invalid format: expected key=value; got nvidia-container-runtime.mode"),
        (
            "nvidia-container-cli.no-cgroups=maybe",
            'invalid format: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
    ],
)
def test_settings_that_cannot_be(option: str, said: str) -> None:
    with pytest.raises(ToolkitError) as caught:
        settings.change({}, option)
    assert str(caught.value) == f"invalid --set option {option}: {said}"


def test_lists_and_flags() -> None:
    values: dict[str, Any] = {}
    settings.change(values, "nvidia-container-runtime.runtimes=runc:crun")
    settings.change(values, "nvidia-container-cli.no-cgroups")
    assert values == {"nvidia-container-runtime.runtimes": ["runc", "crun"], "nvidia-container-cli.no-cgroups": True}


def test_a_file_that_is_no_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("a = = b")
    assert ctk.main(["config", f"--config={tmp_path / 'config.toml'}"], "1") == 1
    assert "failed to load specified config file" in capsys.readouterr().err


# nvidia-ctk runtime configure


def test_daemon_json_is_merged(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"log-driver": "local", "runtimes": {"other": {"path": "x"}}}')
    docker_config.configure(["--runtime=docker", f"--config={file}"], Log(quiet=True))
    assert json.loads(file.read_text()) == {
        "log-driver": "local",
        "runtimes": {"other": {"path": "x"}, "nvidia": {"args": [], "path": "nvidia-container-runtime"}},
    }


def test_the_real_one_loses_other_features() -> None:
    config: dict[str, Any] = {"features": {"buildkit": True}}
    docker_config.merge(config, name="nvidia", path="p", default=True, cdi=True)
    assert config["features"] == {"cdi": True}
    assert config["default-runtime"] == "nvidia"


def test_a_dry_run_only_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "daemon.json"
    assert ctk.main(["--quiet", "runtime", "configure", "--dry-run", "--config", str(file)], "1") == 0
    assert json.loads(capsys.readouterr().out)["runtimes"]["nvidia"]["args"] == []
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime=podman"], "unrecognized runtime 'podman'"),
        (["--what"], "flag provided but not defined: -what"),
        (["--drop-in-config=/x"], "runtime docker does not support drop-in configs"),
    ],
)
def test_configure_refuses(words: list[str], said: str) -> None:
    with pytest.raises(ToolkitError) as caught:
        docker_config.configure(words, Log(quiet=True))
    assert str(caught.value) == said


def test_a_broken_daemon_json_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text("{broken")
    with pytest.raises(ToolkitError, match="unable to load config for runtime docker"):
        docker_config.configure([f"--config={file}"], Log(quiet=True))
    assert file.read_text() == "{broken"


# nvidia-ctk itself


def test_generate_and_list(
    make_driver: Callable[..., Driver], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_driver()
    output = tmp_path / "var/run/cdi/nvidia.yaml"
    assert ctk.main(["cdi", "generate", f"--output={output}"], "1", tmp_path) == 0
    said = capsys.readouterr().err
    assert 'level=info msg="Auto-detected mode as \\"nvml\\""' in said
    assert 'level=info msg="Generated CDI spec with version 0.5.0"' in said
    assert ctk.main(["cdi", "list"], "1", tmp_path) == 0
    names = [f"nvidia.com/gpu={name}" for name in ("0", "1", "GPU-00", "GPU-11", "all")]
    assert capsys.readouterr().out.splitlines() == names


def test_generate_without_a_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctk.main(["cdi", "generate"], "1", tmp_path) == 1
    before = "failed to generate CDI spec: failed to create device CDI specs"
    assert f'level=error msg="{before}: failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND"' in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ctk.main(["--version"], "1.18.0") == 0
    assert capsys.readouterr().out == "NVIDIA Container Toolkit CLI version 1.18.0\n"


def test_links_for_device_nodes(
    make_driver: Callable[..., Driver], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_driver((0,))
    words = ["system", "create-dev-char-symlinks", f"--dev-char-path={tmp_path / 'char'}", f"--driver-root={tmp_path}"]
    assert ctk.main(words, "1", tmp_path) == 0
    # All of them are /dev/null here.
    assert (tmp_path / "char/1:3").readlink() == tmp_path / "dev/nvidia-uvm"
    assert "Could not create symlink" in capsys.readouterr().err


def test_options_in_all_spellings() -> None:
    options, rest = arguments.parse(["-a", "--b=1", "--c", "2", "x", "-y"], {"a": "A"}, {"b": "B", "c": "B"})
    assert (options.on("A"), options["B"], rest) == (True, ["1", "2"], ["x", "-y"])
    with pytest.raises(ToolkitError, match="flag needs an argument: --b"):
        arguments.parse(["--b"], {}, {"b": "B"})


# The runtime


@pytest.mark.parametrize(
    ("words", "bundle"),
    [
        (["--root", "/r", "create", "--bundle", "/b", "id"], Path("/b")),
        (["create", "--bundle=/b", "id"], Path("/b")),
        (["create", "-b", "/b", "id"], Path("/b")),
        (["create", "id"], Path()),
        (["start", "id"], None),
    ],
)
def test_the_bundle_of_a_command(words: list[str], bundle: Path | None) -> None:
    assert runtime.bundle_of(words) == bundle


def config_with(*environment: str) -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", *environment]},
        "hooks": {"prestart": [GPU_HOOK]},
        "root": {"path": "rootfs"},
    }


@pytest.mark.parametrize("environment", [(), ("NVIDIA_VISIBLE_DEVICES=void",), ("NVIDIA_VISIBLE_DEVICES=",)])
def test_a_container_without_gpus(make_driver: Callable[..., Driver], environment: tuple[str, ...]) -> None:
    config = config_with(*environment)
    assert not runtime.edit(config, make_driver(), DEFAULT)
    assert config == config_with(*environment)


def test_devices_are_put_in_and_the_hook_taken_out(make_driver: Callable[..., Driver]) -> None:
    config = config_with("NVIDIA_VISIBLE_DEVICES=1")
    assert runtime.edit(config, make_driver(), DEFAULT)
    assert [device["path"] for device in config["linux"]["devices"]] == [
        "/dev/nvidia1",
        "/dev/nvidia-uvm",
        "/dev/nvidiactl",
    ]
    assert config["hooks"]["prestart"] == []
    assert "/run/nvidia-lab/driver" in {mount["destination"] for mount in config["mounts"]}


def test_an_unknown_device(make_driver: Callable[..., Driver]) -> None:
    with pytest.raises(ToolkitError, match="failed to get device handle for '7': Invalid Argument"):
        runtime.edit(config_with("NVIDIA_VISIBLE_DEVICES=7"), make_driver(), DEFAULT)


def test_cdi_mode_reads_specifications(make_driver: Callable[..., Driver], tmp_path: Path) -> None:
    driver = make_driver()
    values = {**DEFAULT, "nvidia-container-runtime.mode": "cdi"}
    with pytest.raises(ToolkitError) as caught:
        runtime.edit(config_with("NVIDIA_VISIBLE_DEVICES=all"), driver, values)
    assert str(caught.value) == (
        "could not apply required modification to OCI specification: error modifying OCI spec:"
        " failed to inject CDI devices: unresolvable CDI devices nvidia.com/gpu=all"
    )
    ctk.main(["--quiet", "cdi", "generate", f"--output={tmp_path}/etc/cdi/nvidia.yaml"], "1", tmp_path)
    config = config_with("NVIDIA_VISIBLE_DEVICES=all")
    assert runtime.edit(config, driver, values)
    assert "/dev/nvidia0" in {device["path"] for device in config["linux"]["devices"]}


def test_legacy_mode_only_adds_the_hook(make_driver: Callable[..., Driver]) -> None:
    config = {**config_with("NVIDIA_VISIBLE_DEVICES=all"), "hooks": None}
    assert runtime.edit(config, make_driver(), {**DEFAULT, "nvidia-container-runtime.mode": "legacy"})
    assert config["hooks"] == {"prestart": [GPU_HOOK]}


@pytest.mark.parametrize(
    ("version", "mode", "meant"),
    [("1.17.8", "auto", "legacy"), ("1.18.0", "auto", "auto"), ("1.17.8", "cdi", "cdi")],
)
def test_what_auto_means(version: str, mode: str, meant: str) -> None:
    key = "nvidia-container-runtime.mode"
    assert runtime.with_mode({**DEFAULT, key: mode}, version)[key] == meant


def test_a_failure_is_where_containerd_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runtime._fail(["--log", str(tmp_path / "log.json"), "create"], "no way") == 1
    entry = json.loads((tmp_path / "log.json").read_text())
    assert (entry["level"], entry["msg"]) == ("error", "no way")
    assert "no way" in capsys.readouterr().err


# The hook and nvidia-container-cli


def test_what_the_hook_has_done() -> None:
    config = config_with(
        "NVIDIA_VISIBLE_DEVICES=0,1", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "NVIDIA_REQUIRE_CUDA=cuda>=12.8"
    )
    assert hook.arguments(config, Path("/bundle"), 77, DEFAULT) == [
        "nvidia-container-cli",
        "--load-kmods",
        "configure",
        "--ldconfig=@/sbin/ldconfig",
        "--device=0,1",
        "--compute",
        "--utility",
        "--require=cuda>=12.8",
        "--pid=77",
        "/bundle/rootfs",
    ]


def test_settings_of_the_hook() -> None:
    values = {**DEFAULT, "nvidia-container-cli.no-cgroups": True, "disable-require": True}
    config = config_with("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_REQUIRE_CUDA=cuda>=99")
    found = hook.arguments(config, Path("/bundle"), 1, values)
    assert found is not None
    assert "--no-cgroups" in found
    assert not any(word.startswith("--require") for word in found)


def test_no_gpu_no_hook() -> None:
    assert hook.arguments(config_with(), Path("/bundle"), 1, DEFAULT) is None


def test_the_hook_wants_the_legacy_mode() -> None:
    values = {**DEFAULT, "nvidia-container-runtime.mode": "cdi"}
    with pytest.raises(ToolkitError, match=r"--gpus flag\) is not supported"):
        hook.arguments(config_with("NVIDIA_VISIBLE_DEVICES=all"), Path("/bundle"), 1, values)


def test_capabilities_that_do_not_exist() -> None:
    config = config_with("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=flying")
    with pytest.raises(ToolkitError, match="unsupported capabilities found in 'flying'"):
        hook.arguments(config, Path("/bundle"), 1, DEFAULT)


@pytest.mark.parametrize(
    ("requirement", "unsatisfied"),
    [
        ("cuda>=12.8", None),
        ("cuda>=13.0", None),
        ("cuda>=13.1", "cuda>=13.1"),
        ("cuda>=13.1 brand=tesla,driver>=535,driver<536", "cuda>=13.1"),
        ("cuda>=13.1 brand=geforce,driver>=580,driver<581", None),
        ("cuda<12", "cuda<12"),
        ("driver=580.76.05", None),
        ("driver!=580.76.5", "driver!=580.76.5"),
        ("nonsense", "nonsense"),
    ],
)
def test_requirements(make_driver: Callable[..., Driver], requirement: str, unsatisfied: str | None) -> None:
    assert cli.check_requirement(requirement, make_driver()) == unsatisfied


def test_cli_without_a_driver(make_driver: Callable[..., Driver]) -> None:
    options = arguments.Options(pid=["1"])
    with pytest.raises(ToolkitError) as caught:
        cli.configure(make_driver(library=""), options, Path("/"))
    assert str(caught.value) == (
        "initialization error: load library failed: libnvidia-ml.so.1:"
        " cannot open shared object file: no such file or directory"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (arguments.Options(pid=["1"], device=["9"]), "device error: 9: unknown device"),
        (
            arguments.Options(pid=["1"], require=["cuda>=14"]),
            (
                "requirement error: unsatisfied condition: cuda>=14, please update your driver to a newer version,"
                " or use an earlier cuda container"
            ),
        ),
    ],
    ids=["device", "requirement"],
)
def test_cli_refuses(make_driver: Callable[..., Driver], options: arguments.Options, said: str) -> None:
    with pytest.raises(ToolkitError) as caught:
        cli.configure(make_driver(), options, Path("/"))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "missing command"),
        (["dance"], "unrecognized command: dance"),
        (["--dance"], "flag provided but not defined: -dance"),
        (["configure", "--pid=1"], "configure needs --pid and the container's root"),
    ],
)
def test_cli_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words, "1.18.0") == 1
    assert capsys.readouterr().err == f"nvidia-container-cli: {said}\n"


# nvidia-cdi-hook


def test_library_links(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    (folder / "libcuda.so.580.76.05").touch()
    (folder / "libcuda.so.1").symlink_to("libcuda.so.570.1")
    cdi_hook.link_libraries(tmp_path, "/usr/lib/x86_64-linux-gnu")
    cdi_hook.create_link(tmp_path, "libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so")
    assert (folder / "libcuda.so").resolve().name == "libcuda.so.580.76.05"
    with pytest.raises(ToolkitError, match="invalid symlink specification libcuda"):
        cdi_hook.create_link(tmp_path, "libcuda")
