# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# For Ansible a play that finds no host is a success. In a scenario it would be a test that tests nothing.

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "no_host_is_a_failure"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play

    def v2_playbook_on_no_hosts_matched(self) -> None:
        # A play that computed that it is for nobody has no pattern: most depths of containers.yml are empty.
        if self._play.hosts:
            # The one exception of a callback that ends the playbook.
            raise AssertionError(f"the play {self._play.get_name()!r} finds no host: {self._play.hosts}")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not stats.processed:
            raise AssertionError("the playbook did nothing on any host")
