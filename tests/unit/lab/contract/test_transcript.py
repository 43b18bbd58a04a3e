# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from lab.contract.states import read_state
from lab.contract.transcript import RECORDINGS, Outcome, parse, read_sections

TEXT = """\
## 4. snapshots (ZFS)

**two streams**

```
# pct one; \\
pct two
--- stdout
out
--- in the middle
--- stderr
err
--- rc=255
```

A remark.

**no output**

```
# pct set 101 --cores 1
--- rc=0
```

**output without a final newline**

```
# cat /x
--- stdout
half--- rc=1
```
"""


def test_a_case_is_its_line_and_what_came_of_it() -> None:
    section = parse(TEXT)
    assert (section.number, section.title) == (4, "snapshots (ZFS)")
    assert [(case.name, case.command, case.expected) for case in section.cases] == [
        ("4/two streams", "pct one; \\\npct two", Outcome("out\n--- in the middle\n", "err\n", 255)),
        ("4/no output", "pct set 101 --cores 1", Outcome("", "", 0)),
        ("4/output without a final newline", "cat /x", Outcome("half", "", 1)),
    ]


def test_a_block_that_is_no_case_is_not_skipped() -> None:
    with pytest.raises(ValueError, match="section 4 has 4 fenced blocks, of which 3 are cases"):
        parse(TEXT + "\n**broken**\n\n```\n$ pct list\n```\n")


def test_a_section_needs_its_heading() -> None:
    with pytest.raises(ValueError, match="no heading"):
        parse("**x**\n")


def test_every_recorded_line_is_a_case_with_a_name_of_its_own() -> None:
    sections = read_sections()
    assert [section.number for section in sections] == list(range(1, 12))
    names = [case.name for section in sections for case in section.cases]
    assert len(names) == len(set(names)) == 247
    recorded = "".join(path.read_text("utf-8") for path in RECORDINGS.glob("*.txt"))
    assert len(names) == len(re.findall(r"--- rc=\d+$", recorded, re.MULTILINE))


def test_every_section_has_a_state_and_the_state_only_names_its_cases() -> None:
    for section in read_sections():
        assert read_state(section.number).before.keys() <= {case.title for case in section.cases}
