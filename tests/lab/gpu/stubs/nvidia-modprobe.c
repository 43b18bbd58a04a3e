/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* The helper that loads the driver's modules and makes its device nodes, as NVIDIA's own does it. */

#include "lab.h"
#include "versions.h"
#include "program.h"

static int load(const char *module)
{
    char path[128], *argv[] = {"/sbin/modprobe", (char *)module, NULL}, *p;
    struct status status;
    append(append(path, "/sys/module/"), module);
    for (p = path; *p; p++) if (*p == '-') *p = '_';
    if (sys_stat(path, &status) == 0) return 1;
    return run("/sbin/modprobe", argv) == 0;
}

static int make_node(const char *path, unsigned long major, unsigned long minor, unsigned int mode)
{
    struct status status;
    char link[64], target[64];
    long rc = sys_stat(path, &status);
    if (!major) return 0;
    if (rc == 0 && ((status.mode & S_IFMT) != S_IFCHR || status.rdev != device_number(major, minor))) {
        if (sys_unlink(path) < 0) return 0;
        rc = -ENOENT;
    }
    if (rc < 0 && sys_mknod(path, S_IFCHR | mode, device_number(major, minor)) < 0) return 0;
    if (sys_chmod(path, mode) < 0) return 0;
    append_number(append(append_number(append(link, "/dev/char/"), major), ":"), minor);
    append(append(target, "../"), path + 5);
    sys_mkdir("/dev/char", 0755);
    sys_unlink(link);
    sys_symlink(target, link);
    return 1;
}

static int make_gpu(int minor)
{
    char path[64];
    if (minor == 255) append(path, "/dev/nvidiactl");
    else if (minor == 254) append(path, "/dev/nvidia-modeset");
    else append_number(append(path, "/dev/nvidia"), minor);
    return make_node(path, 195, minor, 0666);
}

/* A file of /proc/driver/nvidia/capabilities tells the minor and the mode of its node. */
static int make_capability(const char *file)
{
    char text[512], path[64], *minor, *mode;
    if (read_file(file, text, sizeof text) <= 0) return 0;
    minor = find(text, "DeviceFileMinor: ");
    mode = find(text, "DeviceFileMode: ");
    if (!minor || !mode) return 0;
    sys_mkdir("/dev/nvidia-caps", 0755);
    append_number(append(path, "/dev/nvidia-caps/nvidia-cap"), number(minor + 17));
    return make_node(path, driver_major("nvidia-caps"), number(minor + 17), number(mode + 16));
}

static int make_uvm(int minor)
{
    return make_node(minor ? "/dev/nvidia-uvm-tools" : "/dev/nvidia-uvm", driver_major("nvidia-uvm"), minor, 0666);
}

static int main(int argc, char **argv)
{
    int minors[64], count = 0, uvm = 0, modeset = 0, skip = 0, i, ok;
    const char *files[64], *value;
    int file_count = 0;
    for (i = 1; i < argc; i++) {
        const char *a = argv[i], *p;
        int more = i + 1 < argc;
        if (same(a, "--unified-memory")) uvm = 1;
        else if (same(a, "--modeset")) modeset = 1;
        else if (same(a, "--nvswitch") || same(a, "--nvlink") || same(a, "--imex-channel")) skip = 1;
        else if (same(a, "--version") || same(a, "-v") || same(a, "--help") || same(a, "-h")) {
            char mine[32];
            put("\nnvidia-modprobe:  version ");
            put(own_driver(mine));
            put("\n\nThis utility is used to load the NVIDIA kernel modules and create NVIDIA character device files "
                "automatically.\n\n");
            return 0;
        }
        else if ((same(a, "-c") || same(a, "--create-nvidia-device-file")) && more && count < 64)
            minors[count++] = number(argv[++i]);
        else if (starts(a, "--create-nvidia-device-file=") && count < 64) minors[count++] = number(a + 28);
        else if (starts(a, "-c=") && count < 64) minors[count++] = number(a + 3);
        else if ((same(a, "-f") || same(a, "--nvidia-capability-device-file")) && more && file_count < 64)
            files[file_count++] = argv[++i];
        else if (a[0] == '-' && a[1] && a[1] != '-') {
            for (p = a + 1; *p; p++) {
                if (*p == 'u') uvm = 1;
                else if (*p == 'm') modeset = 1;
                else if (*p == 's' || *p == 'l' || *p == 'i') skip = 1;
                else if (*p == 'c' && !p[1] && i + 1 < argc && count < 64) minors[count++] = number(argv[++i]);
                else break;
            }
            if (*p) goto bad;
        }
        else goto bad;
    }
    ok = load(uvm ? "nvidia-uvm" : "nvidia");
    for (i = 0; ok && !skip && i < count; i++) ok = uvm ? make_uvm(minors[i]) : make_gpu(minors[i]);
    if (ok && modeset) ok = load("nvidia-modeset") && make_gpu(254);
    for (i = 0; ok && i < file_count; i++) ok = make_capability(files[i]);
    return !ok;
bad:
    complain("\nERROR: Invalid commandline, please run `nvidia-modprobe --help` for usage information.\n\n\n");
    return 1;
}
