# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit(
        f"scripts/test needs Python 3.11 or later, this is {sys.version.split()[0]}. "
        "Name another: PYTHON=python3.12 scripts/test"
    )

from . import cli

sys.exit(cli.main(sys.argv[1:]))
