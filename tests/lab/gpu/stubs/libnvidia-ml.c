/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* As much of NVML as a program that loads it itself asks first; the stub of nvidia-smi only reads its version. */

#include "lab.h"
#include "memory.h"
#include "versions.h"

#define SUCCESS 0
#define DRIVER_NOT_LOADED 9
#define LIBRARY_MISMATCH 18
#define UNKNOWN 999
#define INVALID_ARGUMENT 2

static struct gpu gpus[MAX_GPUS];
static int gpu_count;

int nvmlInit_v2(void)
{
    char mine[32], loaded[32];
    loaded_version(loaded);
    if (!loaded[0]) return DRIVER_NOT_LOADED;
    if (!same(own_driver(mine), loaded)) return LIBRARY_MISMATCH;
    if (!openable("/dev/nvidiactl")) return UNKNOWN;
    gpu_count = usable_gpus(gpus);
    return SUCCESS;
}
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }

static int copy(char *to, unsigned int size, const char *from)
{
    if (size <= length(from)) return INVALID_ARGUMENT;
    append(to, from);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *to, unsigned int size)
{
    char loaded[32];
    return copy(to, size, loaded_version(loaded));
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    char text[32], *dot;
    own_cuda(text);
    dot = find(text, ".");
    *version = number(text) * 1000 + (dot ? number(dot + 1) * 10 : 0);
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = gpu_count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
    if ((int)index >= gpu_count) return INVALID_ARGUMENT;
    *device = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(struct gpu *device, char *to, unsigned int size) { return copy(to, size, device->name); }
int nvmlDeviceGetUUID(struct gpu *device, char *to, unsigned int size) { return copy(to, size, device->uuid); }

int nvmlDeviceGetMinorNumber(void *device, unsigned int *minor)
{
    *minor = ((struct gpu *)device)->minor;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *info)
{
    info[0] = ((struct gpu *)device)->total << 20;
    info[2] = used_bytes(device);
    info[1] = info[0] - info[2];
    return SUCCESS;
}
