#!/bin/sh
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What stands for the compiler: modules for one kernel, out of those whose kernel is still to be written in.
# Usage: build-modules.sh KERNEL

kernel=$1
if [ ! -e "/lib/modules/$kernel/build/Makefile" ]; then
    echo "make: *** /lib/modules/$kernel/build: No such file or directory.  Stop." >&2
    exit 2
fi
if ! command -v cc > /dev/null; then
    echo "make: cc: No such file or directory" >&2
    exit 2
fi
if [ -e /proc/driver/phoenix-lab/build-fails ]; then
    echo "nvidia/nv-dma.c:321:11: error: implicit declaration of function 'get_dma_ops'" >&2
    echo "make[3]: *** [nvidia/nv-dma.o] Error 1" >&2
    exit 2
fi
for template in *.ko.in; do
    echo "  CC [M]  ${template%.ko.in}.o"
    # The place for the kernel has a fixed width.
    LC_ALL=C sed "s/@KERNEL@@*/$(printf '%-48s' "$kernel")/" "$template" > "${template%.in}" || exit 2
    echo "  LD [M]  ${template%.in}"
done
