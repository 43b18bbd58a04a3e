# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.scripts.harness import errors_in_python, errors_page

CHECKOUT = Path(__file__).parents[4]


def found(root: Path, source: str) -> list[tuple[str, str, str]]:
    """What is found in one file: code, what is wrong, what to do."""
    folder = root / "plugins/module_utils"
    folder.mkdir(parents=True)
    (folder / "_one.py").write_text(textwrap.dedent(source))
    return [(failure.code, failure.reason, failure.remedy) for failure in errors_in_python.failures(root)]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        pytest.param(
            """
            raise PhoenixError(
                f"container {guest.ctid} is {', '.join(states)}"
                + (f" ({hint})" if hint else ""),
                remedy=f"Run `pct start {guest.ctid}`.",
                code=Code.POWER,
            )
            """,
            [("6", "container <ctid> is <states>[ (<hint>)]", "Run `pct start <ctid>`.")],
            id="placeholders",
        ),
        pytest.param(
            """
            raise invalid("gpus", value, "names a GPU twice", "Name it once.")
            """,
            [("2", "gpus: <value> names a GPU twice", "Name it once.")],
            id="an argument",
        ),
        pytest.param(
            """
            def _failed(what: str, done: Completed) -> PhoenixError:
                return PhoenixError(f"{what} failed", remedy="See its output.")

            def run():
                raise _failed("docker info", done)

            def other():
                raise _failed("docker run", done)
            """,
            [("1", "docker info failed", "See its output."), ("1", "docker run failed", "See its output.")],
            id="a function's words come from its calls",
        ),
        pytest.param(
            """
            def explain(error):
                if error.late:
                    reason = "it was late"
                    remedy = "Be patient."
                else:
                    reason = "it was early"
                    remedy = "Hurry."
                return PhoenixError(reason, remedy=remedy)
            """,
            [("1", "it was late", "Be patient."), ("1", "it was early", "Hurry.")],
            id="each branch with its own remedy",
        ),
        pytest.param(
            """
            def again(error):
                raise PhoenixError(error.reason, remedy=error.remedy, code=error.code)
            """,
            [],
            id="what is passed on is told where it is made",
        ),
        pytest.param(
            """
            _KNOWN = (Known(r"^snapshot '\\\\S+' does not exist", Code.SNAPSHOT, "Correct the name."),)
            """,
            [("5", "… snapshot '…' does not exist …", "Correct the name.")],
            id="what another program says",
        ),
        pytest.param(
            """
            raise AnsibleConnectionFailure(f"Container {self._ctid} does not run. Start it: pct start {self._ctid}")
            """,
            [("-", "Container <ctid> does not run", "Start it: pct start <ctid>")],
            id="one text for both",
        ),
        pytest.param(
            """
            raise PhoenixError("it is so", remedy="")
            """,
            [("1", "it is so", "")],
            id="without a remedy",
        ),
    ],
)
def test_failures_of_plugins(tmp_path: Path, source: str, wanted: list[tuple[str, str, str]]) -> None:
    assert found(tmp_path, source) == wanted


def test_messages_of_roles(tmp_path: Path) -> None:
    tasks = tmp_path / "roles/one/tasks"
    tasks.mkdir(parents=True)
    (tmp_path / "plugins").mkdir()
    (tasks / "main.yml").write_text(
        textwrap.dedent("""\
            - name: Check
              ansible.builtin.assert:
                that: item.fits
                fail_msg: "{{ item.key }}: {{ item.value }} {{ item.problem }}"
              loop:
                - {key: one_port, value: "{{ one_port }}", problem: is no port. Choose another.}
            - name: Refuse
              block:
                - name: Refuse
                  ansible.builtin.fail:
                    msg: >-
                      {{ __one_reason }}: the node has to be rebooted.
                      Reboot it, or set one_reboot.
            """)
    )
    text = errors_page.page(tmp_path)
    assert "| one_port: \\<value> is no port | 1 | Choose another. |" in text
    assert "| \\<one reason>: the node has to be rebooted | 1 | Reboot it, or set one_reboot. |" in text


def test_a_row_has_something_to_do_and_breaks_no_table(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins/module_utils"
    plugins.mkdir(parents=True)
    (tmp_path / "roles").mkdir()
    (plugins / "_one.py").write_text('raise PhoenixError("see `a|b` and *.run of <it>", remedy="")\n')
    assert f"| See `a\\|b` and \\*.run of \\<it> | 1 | {errors_page.UNKNOWN} |" in errors_page.page(tmp_path)


def test_every_file_that_raises_is_on_the_page() -> None:
    """A new way to fail, or a new table of what programs say, would be found by nobody."""
    on_the_page = {failure.file for failure in errors_in_python.failures(CHECKOUT)}
    raising = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "plugins").rglob("*.py")
        if path.name not in errors_in_python.DEFINITIONS and "PhoenixError(" in path.read_text(encoding="utf-8")
    }
    only_pass_on: set[str] = set()
    assert raising - on_the_page == only_pass_on
