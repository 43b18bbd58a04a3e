/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/*
 * Preloaded into every program of the node: the kernel that uname tells is the one that /proc tells. A release cannot
 * be set for a container, and the roles install what belongs to it.
 */

#include "lab.h"

#define FIELD 65

int uname(char *to)
{
    char release[FIELD + 1];
    long rc = call1(63, to), n;
    if (rc < 0) return -1;
    n = read_file("/proc/sys/kernel/osrelease", release, sizeof release);
    if (n > 1 && release[n - 1] == '\n') {
        release[n - 1] = 0;
        memset(to + 2 * FIELD, 0, FIELD);
        append(to + 2 * FIELD, release);
    }
    return 0;
}
