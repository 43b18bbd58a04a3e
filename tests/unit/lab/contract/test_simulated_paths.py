# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from lab.pve.simulated_paths import map_paths

PCT = frozenset({"pct"})


@pytest.mark.parametrize(
    ("line", "mapped"),
    [
        ("cat /etc/pve/lxc/1.conf /x", "cat R/etc/pve/lxc/1.conf R/x"),
        ("pct push 100 /tmp/f /root/f", "pct push 100 /tmp/f /root/f"),
        ("pct exec 1 -- sha1sum < /tmp/bin; cat /x", "pct exec 1 -- sha1sum < R/tmp/bin; cat R/x"),
        ("pct list >/dev/null 2>&1 | tail /x", "pct list >/dev/null 2>&1 | tail R/x"),
        ("time pct set 1 --mp0 /srv,mp=/srv", "time pct set 1 --mp0 /srv,mp=/srv"),
        ("SSL=/x env -u A pct exec 1 -- /bin/x /y", "SSL=/x env -u A pct exec 1 -- /bin/x /y"),
        ("dd if=/dev/urandom of=/tmp/r bs=1M", "dd if=/dev/urandom of=R/tmp/r bs=1M"),
        ("printf 'a: /dev/x\\n' >> /etc/x", "printf 'a: /dev/x\\n' >> R/etc/x"),
        ('echo "/x $(cat /y)"', 'echo "/x $(cat /y)"'),
        ("D=$(sha1sum /a | cut -d' ' -f1); pct set $D /b", "D=$(sha1sum R/a | cut -d' ' -f1); pct set $D /b"),
        ("cp /a /proc/$(lxc-info -n 1 -pH)/root/b", "cp R/a R/proc/$(lxc-info -n 1 -pH)/root/b"),
        ("diff <(grep x /a) <(pct config 1 /b)", "diff <(grep x R/a) <(pct config 1 /b)"),
        ("for c in 1 2; do pct $c /x; done; ls /x", "for c in 1 2; do pct $c /x; done; ls R/x"),
        ("pct a /x\ncat /y\n", "pct a /x\ncat R/y\n"),
        ("pct list & A=$!; grep -H ^lock /etc/*.conf", "pct list & A=$!; grep -H ^lock R/etc/*.conf"),
        ("awk '{print $5}' /proc/$P/mountinfo", "awk '{print $5}' R/proc/$P/mountinfo"),
        ("exec 3<>/dev/nvidiactl", "exec 3<>R/dev/nvidiactl"),
    ],
)
def test_paths_of_the_node(line: str, mapped: str) -> None:
    assert map_paths(line, "R", opaque=PCT) == mapped


def test_an_open_quote_is_refused() -> None:
    with pytest.raises(ValueError, match="from character 5 on"):
        map_paths("echo 'x", "R")
