# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.plugins.module_utils._yaml_text import Template, to_yaml
from hypothesis import example, given
from hypothesis import strategies as st
from yamllint import linter
from yamllint.config import YamlLintConfig

COLLECTION = Path(__file__).parents[4]

# Ansible's rules, without the one for long lines: what is generated turns it off where it has to.
RULES = YamlLintConfig((COLLECTION / ".yamllint").read_text().replace("ignore-from-file: .gitignore", ""))

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
WORDS = st.sampled_from(
    ["yes", "Off", "NULL", "y", "~", "0777", "0o777", "1e5", "1:30", "8000:8000", "12.8", "2026-01-01", "=", "<<", "-"]
) | st.from_regex(r"[a-z0-9/][a-z0-9 :#,{}\[\]&*!|>'\"%@`?-]*", fullmatch=True)
DATA = st.dictionaries(
    st.text(min_size=1, max_size=20) | WORDS,
    st.recursive(
        SCALARS | WORDS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20) | WORDS, inner, max_size=4),
        max_leaves=12,
    ),
    min_size=1,
    max_size=5,
)


class Loader(yaml.SafeLoader):
    """Reads as Ansible does: text with this tag is never evaluated."""


Loader.add_constructor("!unsafe", lambda _loader, node: ("unsafe", node.value))


def load(text: str) -> t.Any:
    return yaml.load(text, Loader)


def without_tags(value: t.Any) -> t.Any:
    if isinstance(value, tuple):
        return value[1]
    if isinstance(value, dict):
        return {key: without_tags(item) for key, item in value.items()}
    return [without_tags(item) for item in value] if isinstance(value, list) else value


@given(DATA)
@example({"a": ["\x85", "\u2028", "\ufeff", "\ud800", "😀", "\x7f", "\t", "a\nb"]})
@example({"small": 1e-05, "large": 1e16, "whole": 2.0})
@example({"deep": [[["a"], []], [{}], [{"b": [1]}]]})
def test_what_is_written_is_what_is_read(data: dict[str, t.Any]) -> None:
    assert without_tags(load(to_yaml(data))) == data


@given(DATA)
def test_yamllint_has_nothing_to_say(data: dict[str, t.Any]) -> None:
    text = to_yaml(data)
    problems = [problem for problem in linter.run(text, RULES) if problem.rule not in ("line-length", "key-duplicates")]
    assert not problems


def test_how_it_looks() -> None:
    data = {
        "b": {"ports": ("8000:8000",), "empty": [], "none": None, "more": {}},
        "a": [{"name": "eth0", "bridge": "vmbr0"}, [1, 2.5], True, "curl -sf http://localhost:8000/health"],
    }
    assert to_yaml(data) == (
        "a:\n"
        "  - bridge: vmbr0\n"
        "    name: eth0\n"
        "  - - 1\n"
        "    - 2.5\n"
        "  - true\n"
        "  - curl -sf http://localhost:8000/health\n"
        "b:\n"
        "  empty: []\n"
        "  more: {}\n"
        "  none: null\n"
        "  ports:\n"
        '    - "8000:8000"\n'
    )


@pytest.mark.parametrize("mark", ["{{ x }}", "{% if x %}", "{# x #}"])
def test_text_that_looks_like_a_template_is_kept_from_ansible(mark: str) -> None:
    text = to_yaml({"command": f"docker inspect -f {mark}", "node": Template(f"a {mark}")})
    assert load(text) == {"command": ("unsafe", f"docker inspect -f {mark}"), "node": f"a {mark}"}


@pytest.mark.parametrize(
    "text", ["{{ vault_key }}", "{{vault_key}}", "--api-key={{ vault_key }}", "{{ vault_a }}:{{ vault_b }}"]
)
def test_a_reference_to_a_vault_is_for_ansible(text: str) -> None:
    assert load(to_yaml({"secret": text})) == {"secret": text}


@pytest.mark.parametrize(
    "text",
    [
        "{{ vault_key }} {{ x }}",
        "{{ vault_key }}{# x #}",
        "{{{ vault_key }}}",
        "{{ vault_key | x }}",
        "{{ lookup('pipe', 'id') }}",
        "{{ my_vault_key }}",
    ],
)
def test_more_than_references_to_a_vault_is_kept_from_ansible(text: str) -> None:
    assert load(to_yaml({"secret": text})) == {"secret": ("unsafe", text)}


def test_a_power_without_a_point_would_be_text() -> None:
    read = load(to_yaml({"small": 1e-05}))["small"]
    assert isinstance(read, float)
    assert math.isclose(read, 1e-05)
