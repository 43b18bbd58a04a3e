# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Recorded cases of the API that the stand-in does not imitate, and why. One that is here and is equal fails the suite.

from __future__ import annotations

# Not even sent: what they would do is not what was recorded, and later cases would see it.
NOT_SENT: dict[str, str] = {}
# Sent, and answered differently.
DIFFERENT: dict[str, str] = {
    "01-reads/026 GET /cluster/resources root@pam!full": "of one container the recorded node had not yet heard memhost "
    "from pvestatd; the other recorded answers have it, as here",
}
