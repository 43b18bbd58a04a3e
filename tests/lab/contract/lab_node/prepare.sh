# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the recorded machine had beside a node of the lab.
set -e
grep -q '^dir: local-dir$' /etc/pve/storage.cfg ||
    printf '\ndir: local-dir\n\tpath /var/lib/vz-dir\n\tcontent rootdir,images\n' >> /etc/pve/storage.cfg
cd /var/lib/vz/template/cache
for template in debian-13*.tar.*; do
    [ -e debian-12-standard_12.7-1_amd64.tar.zst ] || ln -s "$template" debian-12-standard_12.7-1_amd64.tar.zst
done
[ -e /dev/zfs ] || mknod -m 666 /dev/zfs c 10 249
mkdir -p /root/replay /srv /rpool/data /var/lib/vz-dir
touch /root/replay/sleep /root/replay/zfs
chmod 755 /root/replay/sleep /root/replay/zfs
