# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Before a section: no container, no volume, no task.
set -e
for conf in /etc/pve/lxc/*.conf; do
    [ -e "$conf" ] || continue
    id=$(basename "$conf" .conf)
    lxc-stop -k -n "$id" 2>/dev/null || true
    systemctl stop "pve-container@$id" 2>/dev/null || true
    systemctl reset-failed "pve-container@$id" 2>/dev/null || true
    rm "$conf"
done
for volume in /rpool/data/*vol-* /rpool/data/.snapshots/*; do
    [ -d "$volume" ] || continue
    btrfs property set -f "$volume" ro false 2>/dev/null || true
    btrfs subvolume delete "$volume" >/dev/null 2>&1 || rm -rf "$volume"
done
rm -rf /etc/pve/lxc/* /rpool/data/.datasets /var/lib/lxc/[0-9]* /run/lock/lxc/* /run/pve/ct-* /var/log/pve/tasks/* \
    /etc/phoenix-lab/copy-delay /root/* /tmp/f /tmp/x /tmp/p* /tmp/r* /tmp/bin /tmp/y
