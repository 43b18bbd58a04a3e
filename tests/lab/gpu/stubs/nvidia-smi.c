/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/*
 * NVIDIA-SMI as far as anybody asks it: it lists exactly the GPUs whose nodes it can open, with the version of the
 * library that the loader would find, and fails in NVIDIA's words and with NVIDIA's exit codes.
 */

#include "lab.h"
#include "memory.h"
#include "versions.h"
#include "program.h"
#include "nvml_library.h"
#include "smi_query.h"
#include "smi_table.h"

static struct gpu gpus[MAX_GPUS];
static int gpu_count;
static char library_version[32], module_version[32], cuda_version[32];

/* The node's own nvidia-smi has the modules loaded and the device nodes made; in a container there is no such helper. */
static void ask_modprobe(int all_nodes)
{
    char *argv[2 * MAX_GPUS + 4] = {"nvidia-modprobe", "-c", "255"};
    static char minors[MAX_GPUS][8];
    struct gpu gpu;
    int minor, n = 3;
    for (minor = 0; all_nodes && minor < MAX_GPUS; minor++) {
        if (!read_gpu(minor, &gpu)) continue;
        append_number(minors[minor], minor);
        argv[n++] = "-c";
        argv[n++] = minors[minor];
    }
    argv[n] = NULL;
    if (sys_geteuid() == 0) run("/usr/bin/nvidia-modprobe", argv);
}

static int open_nvml(void)
{
    struct status status;
    if (!find_library("libnvidia-ml.so.1", library_version, NULL)) {
        put("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display "
            "Driver is properly installed and present in your system.\n"
            "Please also try adding directory that contains libnvidia-ml.so to your system PATH.\n");
        return 12;
    }
    if (!loaded_version(module_version)[0]) {
        ask_modprobe(0);
        if (!loaded_version(module_version)[0]) {
            put("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the "
                "latest NVIDIA driver is installed and running.\n\n");
            return 9;
        }
    }
    if (!same(library_version, module_version)) {
        put("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: ");
        put(shortened(library_version));
        put("\n");
        return 18;
    }
    if (sys_stat("/dev/nvidiactl", &status) < 0 || !openable("/dev/nvidia0")) ask_modprobe(1);
    if (!openable("/dev/nvidiactl")) {
        put("Failed to initialize NVML: Unknown Error\n");
        return 255;
    }
    if (!find_library("libcuda.so.1", NULL, cuda_version)) append(cuda_version, "N/A");
    gpu_count = usable_gpus(gpus);
    return 0;
}

static int lost(const struct gpu *gpu, int index)
{
    if (!gpu->lost) return 0;
    put("Unable to determine the device handle for GPU");
    put_number(index);
    put(": ");
    put(gpu->bus + 4);
    put(": GPU is lost.  Reboot the system to recover this GPU\n");
    return 15;
}

static int list_gpus(void)
{
    int i, rc;
    if (!gpu_count) put("No devices found.\n");
    for (i = 0; i < gpu_count; i++) {
        if ((rc = lost(&gpus[i], i))) return rc;
        put("GPU ");
        put_number(i);
        put(": ");
        put(gpus[i].name);
        put(" (UUID: ");
        put(gpus[i].uuid);
        put(")\n");
    }
    return 0;
}

static void show_versions(void)
{
    char mine[32];
    put("NVIDIA-SMI version  : ");
    put(own_driver(mine));
    put("\nNVML version        : ");
    put(find_library("libnvidia-ml.so.1", library_version, NULL) ? shortened(library_version) : "Not Found");
    put("\nDRIVER version      : ");
    put(loaded_version(module_version)[0] ? module_version : "Not Found");
    put("\nCUDA Version        : ");
    put(find_library("libcuda.so.1", NULL, cuda_version) ? cuda_version : "Not Found");
    put("\n");
}

/* Leaves only the GPUs of a list of indices, UUIDs and bus ids. */
static int select_gpus(const char *wanted)
{
    char chosen[MAX_GPUS] = "", word[64];
    int i, n, count = 0, found;
    while (*wanted) {
        for (n = 0; *wanted && *wanted != ',' && n < 63; n++) word[n] = *wanted++;
        word[n] = 0;
        if (*wanted == ',') wanted++;
        for (i = found = 0; i < gpu_count; i++) {
            char index[8];
            append_number(index, i);
            if (!same(word, index) && !same(word, gpus[i].uuid) && !same(word, gpus[i].bus)
                && !same(word, gpus[i].bus + 4)) continue;
            chosen[i] = found = 1;
        }
        if (!found) {
            put("No devices were found\n");
            return 6;
        }
    }
    for (i = 0; i < gpu_count; i++) if (chosen[i]) gpus[count++] = gpus[i];
    gpu_count = count;
    return 0;
}

static int invalid(const char *argument)
{
    put("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n");
    return 1;
}

static const char *option(const char *argument, const char *name)
{
    return starts(argument, name) && argument[length(name)] == '=' ? argument + length(name) + 1 : NULL;
}

static int main(int argc, char **argv)
{
    const char *query = NULL, *apps = NULL, *format = "csv", *ids = NULL, *value, *file = NULL;
    int i, rc, list = 0, detailed = 0, persistence = -1;
    for (i = 1; i < argc; i++) {
        const char *a = argv[i];
        int more = i + 1 < argc;
        if (same(a, "-L") || same(a, "--list-gpus")) list = 1;
        else if (same(a, "--version")) return show_versions(), 0;
        else if (same(a, "-h") || same(a, "--help")) {
            char mine[32];
            put("NVIDIA System Management Interface -- v");
            put(shortened(own_driver(mine)));
            put("\n\nnvidia-smi [OPTION1 [ARG1]] [OPTION2 [ARG2]] ...\n");
            return 0;
        }
        else if (same(a, "-q") || same(a, "--query")) detailed = 1;
        else if (same(a, "-x") || same(a, "-B")) continue;
        else if ((same(a, "-i") || same(a, "--id")) && more) ids = argv[++i];
        else if ((same(a, "-f") || same(a, "--filename")) && more) file = argv[++i];
        else if (same(a, "-d") && more) i++;
        else if (same(a, "-pm") && more) persistence = number(argv[++i]);
        else if ((value = option(a, "-i")) || (value = option(a, "--id"))) ids = value;
        else if ((value = option(a, "--persistence-mode"))) persistence = number(value);
        else if ((value = option(a, "--query-gpu"))) query = value;
        else if ((value = option(a, "--query-compute-apps"))) apps = value;
        else if ((value = option(a, "--format"))) format = value;
        else return invalid(a);
    }
    if ((rc = open_nvml())) return rc;
    if (ids && (rc = select_gpus(ids))) return rc;
    if (list) return list_gpus();
    if (!gpu_count) {
        put("No devices were found\n");
        return 6;
    }
    for (i = 0; i < gpu_count; i++) if ((rc = lost(&gpus[i], i))) return rc;
    if (persistence >= 0) return set_persistence(gpus, gpu_count, persistence);
    if (query) return query_gpus(gpus, gpu_count, query, format, module_version);
    if (apps) return query_apps(gpus, gpu_count, apps, format);
    if (detailed) return show_details(gpus, gpu_count, module_version, cuda_version);
    return show_table(gpus, gpu_count, library_version, module_version, cuda_version);
}
