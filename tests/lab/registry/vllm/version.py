# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which vLLM this is: the older images bring another copy of this file."""

from __future__ import annotations

VERSION = "0.25.1"
DEFAULT_UTILIZATION = 0.92
