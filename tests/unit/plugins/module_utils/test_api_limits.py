# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._api_limits import check_token_limits
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError

# Everything here: api-transcripts 11 (PUT) and 12 (create), any token, incl. root@pam's without privilege separation.

DEVICE = "configuring device passthrough is only allowed for root@pam"
FLAGS = "changing feature flags (except nesting) is only allowed for root@pam"
PRIVILEGED_FLAGS = "changing feature flags for privileged container is only allowed for root@pam"
RAW = "the API takes no lxc.* lines"
UNPRIVILEGED = {"unprivileged": "1", "features": "nesting=1"}
KEYCTL = {"unprivileged": "1", "features": "nesting=1,keyctl=1"}
PRIVILEGED = {"hostname": "plain"}


@pytest.mark.parametrize(
    ("options", "delete", "current", "reason"),
    [
        pytest.param({"dev0": "/dev/nvidia0"}, [], UNPRIVILEGED, f"dev0: {DEVICE}", id="dev0 (devN)"),
        pytest.param(
            {"dev0": "/dev/nvidia0"}, [], {"dev0": "/dev/nvidia0"}, f"dev0: {DEVICE}", id="dev0 same value",
        ),
        pytest.param({}, ["dev0", "dev12"], UNPRIVILEGED, f"dev0: {DEVICE}; dev12: {DEVICE}", id="delete dev0"),
        pytest.param(
            {"features": "nesting=1,keyctl=1"}, [], UNPRIVILEGED, f"features: keyctl would change, {FLAGS}",
            id="features nesting=1,keyctl=1",
        ),
        pytest.param(
            {"features": "nesting=1,fuse=1"}, [], UNPRIVILEGED, f"features: fuse would change, {FLAGS}",
            id="features fuse=1",
        ),
        pytest.param(
            {"features": "nesting=1"}, [], KEYCTL, f"features: keyctl would change, {FLAGS}",
            id="features: drop keyctl",
        ),
        pytest.param({}, ["features"], KEYCTL, f"features: keyctl would change, {FLAGS}", id="delete features"),
        pytest.param(
            {"features": "nesting=1"}, [], PRIVILEGED, f"features: {PRIVILEGED_FLAGS}",
            id="features on the PRIVILEGED CT 102",
        ),
        pytest.param(
            {"hookscript": "local:snippets/hook.sh"}, [], UNPRIVILEGED,
            "hookscript: changing the hookscript is only allowed for root@pam", id="hookscript",
        ),
        pytest.param(
            {"mp1": "/mnt/bindsrc,mp=/mnt/b"}, [], UNPRIVILEGED,
            "mp1: mount point type bind is only allowed for root@pam", id="bind mount mp1",
        ),
        pytest.param(
            {"mp1": "volume=/dev/sdb1,mp=/mnt/b"}, [], UNPRIVILEGED,
            "mp1: mount point type device is only allowed for root@pam", id="device mount",
        ),
        pytest.param({"lxc.mount.entry": "x"}, [], UNPRIVILEGED, f"lxc.mount.entry: {RAW}", id="raw key"),
        pytest.param({"lxc": "[]"}, [], UNPRIVILEGED, f"lxc: {RAW}", id='raw key "lxc"'),
        pytest.param({"lxc[0]": "x"}, [], UNPRIVILEGED, f"lxc[0]: {RAW}", id="raw key lxc[]"),
        pytest.param(
            {"memory": "512", "dev0": "/dev/nvidia0"}, ["hookscript"], UNPRIVILEGED,
            f"dev0: {DEVICE}; hookscript: changing the hookscript is only allowed for root@pam", id="all at once",
        ),
    ],
)  # fmt: skip
def test_what_no_token_can_do(options: dict[str, str], delete: list[str], current: dict[str, str], reason: str) -> None:
    with pytest.raises(PhoenixError) as caught:
        check_token_limits(options, delete, current, creating=False)
    assert caught.value.reason == reason
    assert caught.value.remedy == (
        "No API token may do this, not even one of root@pam: leave the api_* options out and run the task on the node "
        "as root."
    )
    assert caught.value.code is Code.INPUT


@pytest.mark.parametrize(
    ("options", "delete", "current"),
    [
        pytest.param(
            {"memory": "300", "tags": "x", "onboot": "1", "hostname": "h1"}, [], UNPRIVILEGED, id="plain keys"
        ),
        pytest.param({"memory": "301"}, [], {"dev0": "/dev/nvidia0", **KEYCTL}, id="memory while dev0 is set"),
        pytest.param({"features": "nesting=0"}, [], UNPRIVILEGED, id="features nesting=0 (was nesting=1)"),
        pytest.param({"features": "nesting=1,keyctl=1"}, [], KEYCTL, id="features unchanged"),
        pytest.param({"features": "keyctl=1,nesting=0"}, [], KEYCTL, id="nesting=0 with keyctl unchanged"),
        pytest.param({}, ["features"], UNPRIVILEGED, id="delete features when only nesting was set"),
        pytest.param({}, ["mp1"], {"mp1": "/mnt/bindsrc,mp=/mnt/b"}, id="delete bind mount mp1"),
        pytest.param({"mp0": "local-zfs:8,mp=/data", "rootfs": "local-zfs:4"}, [], UNPRIVILEGED, id="volumes"),
        pytest.param({"unprivileged": "1"}, [], UNPRIVILEGED, id="unprivileged unchanged"),
        pytest.param({"unprivileged": "0"}, [], PRIVILEGED, id="privileged unchanged"),
        pytest.param({"features": "nesting=1"}, [], {"features": "nesting=1"}, id="privileged with features unchanged"),
    ],
)
def test_what_a_token_can_do(options: dict[str, str], delete: list[str], current: dict[str, str]) -> None:
    check_token_limits(options, delete, current, creating=False)


@pytest.mark.parametrize(("value", "current"), [("0", UNPRIVILEGED), ("1", PRIVILEGED)])
def test_unprivileged_is_decided_at_creation(value: str, current: dict[str, str]) -> None:
    with pytest.raises(PhoenixError) as caught:
        check_token_limits({"unprivileged": value}, [], current, creating=False)
    assert str(caught.value) == (
        f"unprivileged: '{value}' cannot be set on an existing container. PVE decides it at creation only: destroy the "
        "container and create it anew, or leave it as it is."
    )
    assert caught.value.code is Code.INPUT


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dev0": "/dev/nvidia0"}, f"dev0: {DEVICE}"),
        ({"features": "nesting=1,keyctl=1"}, f"features: keyctl would change, {FLAGS}"),
        ({"features": "nesting=1", "unprivileged": "0"}, f"features: {PRIVILEGED_FLAGS}"),
        ({"mp0": "/mnt/bindsrc,mp=/mnt/b"}, "mp0: mount point type bind is only allowed for root@pam"),
        ({"features": "nesting=1", "unprivileged": "1"}, None),
        ({"features": "nesting=1"}, None),
        ({"unprivileged": "0"}, None),
    ],
)
def test_creation(options: dict[str, str], reason: str | None) -> None:
    if reason is None:
        check_token_limits(options, [], {}, creating=True)
        return
    with pytest.raises(PhoenixError) as caught:
        check_token_limits(options, [], {}, creating=True)
    assert caught.value.reason == reason
