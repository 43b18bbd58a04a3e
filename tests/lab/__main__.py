# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("scripts/lab needs Python 3.11 or newer: PYTHON=python3.11 scripts/lab …")

from .cli import main

sys.exit(main())
