# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Stands in for the get-pip.py that ansible-test downloads from a host of its own: Python brings pip, and the version
# that ansible-test asks for comes from the package index like everything else. provision.py puts it where ansible-test
# looks for a copy that it downloaded before.

from __future__ import annotations

import subprocess
import sys

NOT_FOR_PIP = ("--no-setuptools", "--no-wheel")

# In a process of its own: it turns pip's configuration off for the process that it runs in.
subprocess.check_call([sys.executable, "-m", "ensurepip"])
arguments = [argument for argument in sys.argv[1:] if argument not in NOT_FOR_PIP]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments]))
