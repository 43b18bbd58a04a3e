/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* Enough of it to be found and asked for its version. */

#include "lab.h"
#include "versions.h"
#include "program.h"

static int main(int argc, char **argv)
{
    char mine[32];
    put("nvidia-debugdump:  version ");
    put(own_driver(mine));
    put("\n");
    return 0;
}
