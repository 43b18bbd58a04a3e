# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from lab.contract.states import Run, State, WriteFile, parse


def test_steps_at_first_and_before_cases() -> None:
    text = (
        "# Why.\n### run\npct start 100\n### file /etc/x\n#a\nb: 1\n### before a title: all of it\n### run\ntrue\nls\n"
    )
    assert parse(text) == State(
        (Run("pct start 100\n"), WriteFile("/etc/x", "#a\nb: 1\n")),
        {"a title: all of it": (Run("true\nls\n"),)},
    )


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(ValueError, match="'### ran' is none of"):
        parse("### ran\ntrue\n")
