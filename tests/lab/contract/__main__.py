# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# python3 -m lab.contract [SECTION …]: replays the recordings of pct and prints how much of them is imitated.

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .report import as_markdown, judge, new_player
from .transcript import read_sections


def main(wanted: list[str]) -> int:
    judged = {}
    for section in read_sections():
        if wanted and str(section.number) not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="phoenix-lab-") as folder:
            judged[section] = judge(section, new_player(Path(folder)))
    problems = [verdict.problem for verdicts in judged.values() for verdict in verdicts if verdict.problem]
    print("\n\n".join(problems), file=sys.stderr)
    print(as_markdown(judged), end="")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
