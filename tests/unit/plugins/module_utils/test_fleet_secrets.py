# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet_secrets import HIDDEN
from ansible_collections.phoenix.hypervisor.tests.unit.plugins.module_utils.fleet_world import (
    GONE,
    PLACES,
    Edits,
    findings,
    in_hypervisor,
    in_lxc,
    of,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"hypervisor.users": {"password": "hunter2"}},
            [
                in_hypervisor(
                    "users.password",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into group_vars/all/local.yml "
                    "as `ansible-vault encrypt_string --name vault_password` prints it, "
                    "and remove it here.",
                )
            ],
            id="password",
        ),
        pytest.param(
            {"hypervisor.users": {"password": 12345}},
            [
                in_hypervisor(
                    "users.password",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into group_vars/all/local.yml "
                    "as `ansible-vault encrypt_string --name vault_password` prints it, "
                    "and remove it here.",
                )
            ],
            id="password that is a number",
        ),
        pytest.param(
            {"hypervisor.users": {"password_hash": "hunter2"}},
            [
                in_hypervisor(
                    "users.password_hash",
                    HIDDEN,
                    "this is no hash, so it may be the password itself",
                    'Write "NOT_SET", or the hash as crypt makes it ($6$...). Put it into '
                    "group_vars/all/local.yml as `ansible-vault encrypt_string --name vault_password_hash` prints it, "
                    'and write "{{ '
                    'vault_password_hash }}" in its place.',
                )
            ],
            id="password for its hash",
        ),
        pytest.param(
            {"950.hf_token": "abc"},
            [
                of(
                    "950.hf_token",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/vllm/local.yml "
                    "as `ansible-vault encrypt_string --name vault_hf_token` prints it, "
                    "and remove it here.",
                )
            ],
            id="token of a container",
        ),
        pytest.param(
            {"950.name": GONE, "950.vllm_parameters": {"api-key": "abc"}},
            [
                of(
                    "950.name",
                    None,
                    "the key is missing",
                    'Add "name": "BaseTemplateDockerGPU". The name: host name, inventory host, and what Proxmox '
                    "VE shows. No two containers share one.",
                ),
                of(
                    "950.vllm_parameters.api-key",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/<name>/local.yml "
                    "as `ansible-vault encrypt_string --name vault_api_key` prints it, "
                    'and write "{{ '
                    'vault_api_key }}" in its place.',
                ),
            ],
            id="token of a nameless container",
        ),
        pytest.param(
            {"950": ["hf_abcdefghijklmnopqrstuvwxyz"]},
            [
                of("950", "a list", "a list stands where an object belongs", "Write an object."),
                of(
                    "950[0]",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/<name>/local.yml "
                    "as `ansible-vault encrypt_string --name vault_950` prints it, "
                    "and remove it here.",
                ),
            ],
            id="token in a container that is none",
        ),
        pytest.param(
            {"950.vllm_args": ["--api-key", "abc"]},
            [
                of(
                    "950.vllm_args[1]",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/vllm/local.yml "
                    "as `ansible-vault encrypt_string --name vault_api_key` prints it, "
                    'and write "{{ '
                    'vault_api_key }}" in its place.',
                )
            ],
            id="token on a command line",
        ),
        pytest.param(
            {"950.vllm_args": ["--api-key=abc"]},
            [
                of(
                    "950.vllm_args[0]",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/vllm/local.yml "
                    "as `ansible-vault encrypt_string --name vault_vllm_args` prints it, "
                    'and write "{{ '
                    'vault_vllm_args }}" in its place.',
                )
            ],
            id="token in one word",
        ),
        pytest.param(
            {"950.health_check": {"command": "curl -H 'Authorization: Bearer abc' localhost"}},
            [
                of(
                    "950.health_check.command",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/vllm/local.yml "
                    "as `ansible-vault encrypt_string --name vault_command` prints it, "
                    'and write "{{ '
                    'vault_command }}" in its place.',
                )
            ],
            id="token by its look",
        ),
        pytest.param(
            {"hypervisor.users": {"ssh_public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}},
            [
                in_hypervisor(
                    "users.ssh_public_key",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into group_vars/all/local.yml "
                    "as `ansible-vault encrypt_string --name vault_ssh_public_key` prints it, "
                    "and write "
                    '"{{ vault_ssh_public_key }}" in its place.',
                )
            ],
            id="private key",
        ),
        pytest.param(
            {"lxc.nvidia_repo_url": "https://me:secret@example.com/"},
            [
                in_lxc(
                    "nvidia_repo_url",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into group_vars/all/local.yml "
                    "as `ansible-vault encrypt_string --name vault_nvidia_repo_url` prints it, "
                    "and write"
                    ' "{{vault_nvidia_repo_url}}" in place of the password alone.',
                )
            ],
            id="password in a URL",
        ),
        pytest.param(
            {"950.vllm_parameters": {"api-key": "{{ 'secret' }}"}},
            [
                of(
                    "950.vllm_parameters.api-key",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into host_vars/vllm/local.yml "
                    "as `ansible-vault encrypt_string --name vault_api_key` prints it, "
                    "and write "
                    '"{{ vault_api_key }}" in its place.',
                )
            ],
            id="in a template",
        ),
        pytest.param(
            {"hypervisor.portainer_api": {"admin_user": "me", "admin_password": "secret"}},
            [
                in_hypervisor(
                    "portainer_api",
                    "an object",
                    "the key is not known here",
                    "Remove it; the configuration reference lists the keys.",
                ),
                in_hypervisor(
                    "portainer_api.admin_password",
                    HIDDEN,
                    "a secret stands here in clear text",
                    "Put it into group_vars/all/local.yml "
                    "as `ansible-vault encrypt_string --name vault_admin_password` prints it, "
                    "and remove"
                    " it here.",
                ),
            ],
            id="API of Portainer",
        ),
    ],
)
def test_secrets_in_clear_text(edits: Edits, expected: list[Problem]) -> None:
    found = findings(edits)
    assert found.errors == expected
    assert [problem for problem in found.warnings if problem.path != "$"] == []


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"950.vllm_parameters": {"api-key": "{{ vault_api_key }}"}}, id="a reference to a vault"),
        pytest.param({"lxc.nvidia_repo_url": "https://me:{{vault_nvidia_repo_url}}@example.com/"}, id="one in a URL"),
        pytest.param({"hypervisor.users": {"password_hash": "$6$abcdefgh$0123456789abcdef"}}, id="a hash"),
        pytest.param({"hypervisor.users": {"password_hash": "{{ vault_hash }}"}}, id="a hash in a vault"),
        pytest.param({"hypervisor.users": {"password_hash": "NOT_SET", "ssh_public_key": ""}}, id="no hash yet"),
        pytest.param({"hypervisor.core_paths": {"hf_token_file": "/etc/token"}}, id="files with tokens"),
        pytest.param(
            {
                "950.vllm_parameters": {
                    "tokenizer": "auto",
                    "max_tokens": 5,
                    "token_limit": 5,
                    "enable_api_key": True,
                    "--": "x",
                }
            },
            id="words that only resemble",
        ),
    ],
)
def test_nothing_is_wrong_with(edits: Edits) -> None:
    found = findings(edits)
    assert (found.errors, [problem for problem in found.warnings if problem.path != "$"]) == ([], [])


SECRET = "hf_" + "x1" * 15


FORMS = ["{}", "a {} b", '["{}"]', '{{"k": "{}"}}', '[["x"], {{"k": ["{}"]}}]']


@given(st.sampled_from(PLACES), st.sampled_from(FORMS))
def test_a_secret_is_found_wherever_it_stands_and_never_repeated(place: str, form: str) -> None:
    text = form.format(SECRET)
    try:
        found = findings({place: json.loads(text) if text[0] in "[{" else text})
    except (TypeError, AttributeError):
        return  # there is nothing that the value could be put into
    assert any(problem.value == HIDDEN for problem in found.errors)
    assert not any(SECRET in f"{problem}{problem.value}" for problem in (*found.errors, *found.warnings))
