/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/*
 * The part of CUDA's driver library that a probe needs: it tells what the real one tells when devices are missing,
 * forbidden or stale, and takes memory that everybody sees.
 */

#include "lab.h"
#include "memory.h"
#include "versions.h"

#define SUCCESS 0
#define INVALID_VALUE 1
#define OUT_OF_MEMORY 2
#define NOT_INITIALIZED 3
#define NO_DEVICE 100
#define INVALID_DEVICE 101
#define INVALID_CONTEXT 201
#define SYSTEM_DRIVER_MISMATCH 803
#define UNKNOWN 999

#define MAX_CONTEXTS 64
#define MAX_ALLOCATIONS 4096

static struct gpu all[MAX_GPUS], *visible[MAX_GPUS];
static int gpu_count = -1;
static int current = -1;

struct context { int device; };
static struct context contexts[MAX_CONTEXTS];
static int context_count;

static struct { unsigned long address, bytes; long held; } allocations[MAX_ALLOCATIONS];
static unsigned long next_address = 0x7f1000000000UL;

/* As it was when the process began: what it set itself afterwards is not seen. */
static const char *variable(const char *name)
{
    static char text[65536];
    long fd = sys_open("/proc/self/environ", O_RDONLY, 0), done = 0, n;
    char *p = text;
    if (fd < 0) return NULL;
    while (done < (long)sizeof text - 1 && (n = sys_read(fd, text + done, sizeof text - 1 - done)) > 0) done += n;
    sys_close(fd);
    text[done] = 0;
    for (; p < text + done; p += length(p) + 1)
        if (starts(p, name) && p[length(name)] == '=') return p + length(name) + 1;
    return NULL;
}

static void choose_visible(int count)
{
    const char *wanted = variable("CUDA_VISIBLE_DEVICES");
    int i;
    gpu_count = 0;
    if (!wanted) {
        for (i = 0; i < count; i++) visible[gpu_count++] = &all[i];
        return;
    }
    while (*wanted) {
        int chosen = -1;
        if (*wanted >= '0' && *wanted <= '9') chosen = number(wanted);
        else for (i = 0; i < count; i++) if (starts(wanted, all[i].uuid)) chosen = i;
        if (chosen < 0 || chosen >= count) return;
        visible[gpu_count++] = &all[chosen];
        while (*wanted && *wanted++ != ',');
    }
}

int cuInit(unsigned int flags)
{
    char mine[32], loaded[32];
    int i, count;
    if (flags) return INVALID_VALUE;
    loaded_version(loaded);
    if (!loaded[0] || !openable("/dev/nvidiactl")) return NO_DEVICE;
    if (!same(own_driver(mine), loaded)) return SYSTEM_DRIVER_MISMATCH;
    count = usable_gpus(all);
    if (!count) return NO_DEVICE;
    if (!uvm_openable()) return UNKNOWN;
    for (i = 0; i < count; i++) if (all[i].lost) return UNKNOWN;
    choose_visible(count);
    return gpu_count ? SUCCESS : NO_DEVICE;
}

static int check_device(int device)
{
    if (gpu_count < 0) return NOT_INITIALIZED;
    return device < 0 || device >= gpu_count ? INVALID_DEVICE : SUCCESS;
}

int cuDriverGetVersion(int *version)
{
    char text[32], *dot;
    if (!version) return INVALID_VALUE;
    own_cuda(text);
    dot = find(text, ".");
    *version = number(text) * 1000 + (dot ? number(dot + 1) * 10 : 0);
    return SUCCESS;
}

int cuDeviceGetCount(int *count)
{
    if (gpu_count < 0) return NOT_INITIALIZED;
    *count = gpu_count;
    return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal)
{
    int rc = check_device(ordinal);
    if (!rc) *device = ordinal;
    return rc;
}

int cuDeviceGetName(char *name, int size, int device)
{
    int rc = check_device(device), n = 0;
    if (rc) return rc;
    for (; n < size - 1 && visible[device]->name[n]; n++) name[n] = visible[device]->name[n];
    if (size > 0) name[n] = 0;
    return SUCCESS;
}

int cuDeviceGetUuid(unsigned char *uuid, int device)
{
    int rc = check_device(device), n = 0;
    const char *p;
    if (rc) return rc;
    memset(uuid, 0, 16);
    for (p = visible[device]->uuid + 4; *p && n < 32; p++) {
        int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (digit < 0) continue;
        uuid[n / 2] |= n % 2 ? digit : digit << 4;
        n++;
    }
    return SUCCESS;
}
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { return cuDeviceGetUuid(uuid, device); }

int cuDeviceGetPCIBusId(char *bus, int size, int device)
{
    int rc = check_device(device);
    if (rc) return rc;
    if (size < (int)length(visible[device]->bus) + 1) return INVALID_VALUE;
    append(bus, visible[device]->bus);
    return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    int rc = check_device(device);
    if (!rc) *bytes = visible[device]->total << 20;
    return rc;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    int rc = check_device(device);
    char *dot;
    if (rc) return rc;
    dot = find(visible[device]->capability, ".");
    if (attribute == 75) *value = number(visible[device]->capability);
    else if (attribute == 76) *value = dot ? number(dot + 1) : 0;
    else if (attribute == 16) *value = 36;
    else *value = 0;
    return SUCCESS;
}

int cuDeviceComputeCapability(int *major, int *minor, int device)
{
    return cuDeviceGetAttribute(major, 75, device) || cuDeviceGetAttribute(minor, 76, device);
}

int cuCtxCreate_v2(void **context, unsigned int flags, int device)
{
    int rc = check_device(device);
    if (rc) return rc;
    if (context_count == MAX_CONTEXTS) return OUT_OF_MEMORY;
    contexts[context_count].device = current = device;
    *context = &contexts[context_count++];
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { return cuCtxCreate_v2(context, 0, device); }
int cuDevicePrimaryCtxRelease_v2(int device) { return check_device(device); }
int cuCtxSetCurrent(void *context) { current = context ? ((struct context *)context)->device : -1; return SUCCESS; }
int cuCtxSynchronize(void) { return current < 0 ? INVALID_CONTEXT : SUCCESS; }
int cuCtxGetDevice(int *device) { *device = current; return cuCtxSynchronize(); }

int cuMemFree_v2(unsigned long address)
{
    int i;
    for (i = 0; i < MAX_ALLOCATIONS; i++) {
        if (!address || allocations[i].address != address) continue;
        char path[512], file[512];
        long n;
        append_number(append(file, "/proc/self/fd/"), allocations[i].held);
        n = sys_readlink(file, path, sizeof path - 1);
        if (n > 0) {
            path[n] = 0;
            sys_unlink(path);
        }
        sys_close(allocations[i].held);
        allocations[i].address = 0;
        return SUCCESS;
    }
    return INVALID_VALUE;
}

int cuCtxDestroy_v2(void *context)
{
    int i;
    for (i = 0; i < MAX_ALLOCATIONS; i++) if (allocations[i].address) cuMemFree_v2(allocations[i].address);
    current = -1;
    return SUCCESS;
}

int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    if (current < 0) return INVALID_CONTEXT;
    *total = visible[current]->total << 20;
    *available = *total - used_bytes(visible[current]);
    return SUCCESS;
}

int cuMemAlloc_v2(unsigned long *address, size_t bytes)
{
    int i;
    if (current < 0) return INVALID_CONTEXT;
    if (!bytes) return INVALID_VALUE;
    for (i = 0; i < MAX_ALLOCATIONS; i++) {
        if (allocations[i].address) continue;
        allocations[i].held = take_memory(visible[current], bytes);
        if (allocations[i].held < 0) return OUT_OF_MEMORY;
        *address = allocations[i].address = next_address;
        next_address += bytes + 0x200000 & ~0x1fffffUL;
        return SUCCESS;
    }
    return OUT_OF_MEMORY;
}

int cuMemAlloc(unsigned long *address, size_t bytes) { return cuMemAlloc_v2(address, bytes); }
int cuMemFree(unsigned long address) { return cuMemFree_v2(address); }
int cuMemGetInfo(size_t *available, size_t *total) { return cuMemGetInfo_v2(available, total); }

static const struct { int code; const char *name, *text; } errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {SYSTEM_DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static const char *error_text(int code, int want_name)
{
    int i;
    for (i = 0; i < (int)(sizeof errors / sizeof errors[0]); i++)
        if (errors[i].code == code) return want_name ? errors[i].name : errors[i].text;
    return NULL;
}

int cuGetErrorString(int code, const char **text) { return (*text = error_text(code, 0)) ? SUCCESS : INVALID_VALUE; }
int cuGetErrorName(int code, const char **text) { return (*text = error_text(code, 1)) ? SUCCESS : INVALID_VALUE; }
