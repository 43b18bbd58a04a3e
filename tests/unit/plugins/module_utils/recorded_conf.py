# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Files of containers as a real Proxmox VE 9.2 wrote them, to the letter. The numbers are sections of pct-transcripts.

from __future__ import annotations

# 1: create, the resulting file.
CREATED = """\
#first line
#second%3A 100%25 a=b #hash %C3%A4 %E2%82%AC
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
"""

# 1: defaults written by create.
DEFAULTS = """\
arch: amd64
hostname: plain
memory: 512
ostype: debian
rootfs: local-zfs:subvol-102-disk-0,size=4G
swap: 512
"""

# 2: after appending three raw lines by hand.
RAW_APPENDED = """\
#first line
#second%3A 100%25 a=b #hash %C3%A4 %E2%82%AC
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry = /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 2: the same after `pct set 101 --memory 2048 --cores 1`.
RAW_REWRITTEN = """\
#first line
#second%3A 100%25 a=b #hash %C3%A4 %E2%82%AC
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: gpu1
memory: 2048
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 2: description with newline, percent, colon, non-ASCII.
DESCRIBED = """\
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 2: comments anywhere, a duplicate key.
COMMENTS = """\
# a plain comment
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
# trailing comment in the middle
cores: 2
"""

# 2: the same after `pct set 101 --swap 0`.
COMMENTS_REWRITTEN = """\
# a plain comment
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
# trailing comment in the middle
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 3: the file of a running container with pending changes.
PENDING = """\
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: base2
memory: 640
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:83:F1:DF,ip=10.10.10.100/24,type=veth
ostype: debian
rootfs: local-zfs:subvol-100-disk-0,size=2G
swap: 0
unprivileged: 1

[pve:pending]
delete: dev0
dev0: path=/dev/nvidia0,mode=0660
features: nesting=1,keyctl=1
"""

# 3: a raw line set by hand above the pending section.
RAW_AND_PENDING = """\
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: base2
memory: 640
mp0: local-zfs:subvol-100-disk-1,mp=/data,size=1G
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:48:AC:F9,ip=10.10.10.110/24,type=veth
ostype: debian
rootfs: local-zfs:subvol-100-disk-0,size=2G
swap: 0
unprivileged: 1
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file

[pve:pending]
delete: mp0
"""

# 3: after `pct reboot`: the pending deletion became unused0.
RESTARTED = """\
arch: amd64
cores: 2
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1
hostname: base2
memory: 641
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:48:AC:F9,ip=10.10.10.110/24,type=veth
ostype: debian
rootfs: local-zfs:subvol-100-disk-0,size=2G
swap: 0
unprivileged: 1
unused0: local-zfs:subvol-100-disk-1
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
"""

# 4: a snapshot with a description.
SNAPSHOT = """\
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
parent: clean
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file

[clean]
#golden%3A state
#2nd line 105%25
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
snaptime: 1795164487
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 4: raw line, dev1 and mp1 changed since the snapshot.
CHANGED_SINCE = """\
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
dev1: /dev/fuse
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
mp1: local-zfs:subvol-101-disk-2,mp=/extra,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
parent: clean
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/fuse dev/fuse none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file

[clean]
#golden%3A state
#2nd line 105%25
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
snaptime: 1795164487
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 4: the same after `pct rollback 101 clean`.
ROLLED_BACK = """\
## managed by ansible
#key%3A value 100%25
#
#tail \\ %C3%A4
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
parent: clean
rootfs: local-zfs:subvol-101-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
unused0: local-zfs:subvol-101-disk-2
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file

[clean]
#golden%3A state
#2nd line 105%25
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:subvol-101-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:8E:CE:B8,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-101-disk-0,size=2G
snaptime: 1795164487
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 4: after the rollback of a running container to live3.
TWO_SNAPSHOTS = """\
#changed
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
parent: live3
rootfs: local-zfs:subvol-105-disk-0,size=2G
swap: 512
unprivileged: 1

[live1]
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164601
swap: 512
unprivileged: 1

[live3]
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
parent: live1
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164617
swap: 512
unprivileged: 1
"""

# 4: a pending section and three snapshots.
PENDING_AND_SNAPSHOTS = """\
#changed
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
parent: withpend
rootfs: local-zfs:subvol-105-disk-0,size=2G
swap: 512
unprivileged: 1

[pve:pending]
features: nesting=1,keyctl=1

[live1]
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164601
swap: 512
unprivileged: 1

[live3]
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
parent: live1
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164617
swap: 512
unprivileged: 1

[withpend]
arch: amd64
features: nesting=1
hostname: live
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:E2:97:F3,ip=10.10.10.105/24,type=veth
ostype: debian
parent: live3
rootfs: local-zfs:subvol-105-disk-0,size=2G
snaptime: 1795164778
swap: 512
unprivileged: 1
"""

# 5: the file of a clone from a snapshot.
CLONE = """\
#golden%3A state
#2nd line 105%25
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: worker1
memory: 1024
mp0: local-zfs:subvol-201-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:B7:29:88,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:subvol-201-disk-0,size=2G
swap: 0
tags: ai;gpu
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

# 5: a PVE template.
TEMPLATE = """\
#my clone
arch: amd64
cores: 1
dev0: path=/dev/nvidia0,mode=0666
features: nesting=1,keyctl=1
hostname: gpu1
memory: 1024
mp0: local-zfs:basevol-205-disk-1,mp=/data,size=1G
nameserver: 1.1.1.1
net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:33:B7:2D,ip=10.10.10.101/24,type=veth
onboot: 0
ostype: debian
rootfs: local-zfs:basevol-205-disk-0,size=2G
swap: 0
tags: ai;gpu
template: 1
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm
lxc.mount.entry: /dev/nvidiactl dev/nvidiactl none bind,optional,create=file
lxc.mount.entry: /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file
"""

ALL = {
    "CREATED": CREATED,
    "DEFAULTS": DEFAULTS,
    "RAW_APPENDED": RAW_APPENDED,
    "RAW_REWRITTEN": RAW_REWRITTEN,
    "DESCRIBED": DESCRIBED,
    "COMMENTS": COMMENTS,
    "COMMENTS_REWRITTEN": COMMENTS_REWRITTEN,
    "PENDING": PENDING,
    "RAW_AND_PENDING": RAW_AND_PENDING,
    "RESTARTED": RESTARTED,
    "SNAPSHOT": SNAPSHOT,
    "CHANGED_SINCE": CHANGED_SINCE,
    "ROLLED_BACK": ROLLED_BACK,
    "TWO_SNAPSHOTS": TWO_SNAPSHOTS,
    "PENDING_AND_SNAPSHOTS": PENDING_AND_SNAPSHOTS,
    "CLONE": CLONE,
    "TEMPLATE": TEMPLATE,
}
