/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* The versions that the builder of the installer writes over these places, which have room for the longest. */
static volatile const char driver_mark[] = "phoenix-lab-driver=@@@@@@@@@@@@@@@@";
static volatile const char cuda_mark[] = "phoenix-lab-cuda=@@@@@@@@@@@@@@@@";

#define DRIVER_MARK_LENGTH 19
#define CUDA_MARK_LENGTH 17

static char *own_driver(char *to)
{
    return (char *)memcpy(to, (char *)driver_mark + DRIVER_MARK_LENGTH, 17);
}

static char *own_cuda(char *to) { return (char *)memcpy(to, (char *)cuda_mark + CUDA_MARK_LENGTH, 17); }
