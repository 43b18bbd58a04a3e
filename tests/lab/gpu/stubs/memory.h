/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/*
 * Memory of a GPU that is taken: one file per allocation, named <minor>-<bytes>-<pid>-<number>, held by flock as long
 * as its owner lives. So a process that dies gives back what it had, in whichever container it ran, and everybody sees
 * everything, as on the real hardware.
 */

struct entry {
    unsigned long inode, offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

static char *memory_folder(char *to) { return append(append(to, driver_folder()), "/lab/memory"); }

/* Calls for each living allocation; what nobody holds any more is removed. */
static void each_allocation(void (*seen)(int minor, unsigned long bytes, unsigned long inode))
{
    static char buffer[16384];
    char path[512], *name;
    long fd, file, n, at;
    name = memory_folder(path);
    fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return;
    *name++ = '/';
    while ((n = sys_getdents64(fd, buffer, sizeof buffer)) > 0) {
        for (at = 0; at < n;) {
            struct entry *entry = (struct entry *)(buffer + at);
            char *bytes;
            at += entry->size;
            if (entry->name[0] == '.' || !(bytes = find(entry->name, "-"))) continue;
            append(name, entry->name);
            file = sys_open(path, O_RDONLY, 0);
            if (file < 0) continue;
            if (sys_flock(file, LOCK_EX | LOCK_NB) == 0) sys_unlink(path);
            else seen(number(entry->name), number(bytes + 1), entry->inode);
            sys_close(file);
        }
    }
    sys_close(fd);
}

static int counted_minor;
static unsigned long counted_bytes;
static void count_bytes(int minor, unsigned long bytes, unsigned long inode)
{
    if (minor == counted_minor) counted_bytes += bytes;
}

static unsigned long used_bytes(const struct gpu *gpu)
{
    counted_minor = gpu->minor;
    counted_bytes = gpu->reserved << 20;
    each_allocation(count_bytes);
    return counted_bytes;
}

/* The descriptor that holds the memory, or less than 0 when there is not enough. */
static long take_memory(const struct gpu *gpu, unsigned long bytes)
{
    static unsigned long counter;
    char path[512], hidden[512], *p;
    long fd;
    if (used_bytes(gpu) + bytes > gpu->total << 20) return -1;
    p = append(memory_folder(path), "/");
    p = append(append_number(p, gpu->minor), "-");
    p = append(append_number(p, bytes), "-");
    p = append(append_number(p, sys_getpid()), "-");
    p = append(append_number(p, sys_time()), "-");
    append_number(p, ++counter);
    /* Nobody may take it for one without an owner before it is locked. */
    p = append(memory_folder(hidden), "/");
    append(append(p, "."), path + (p - hidden));
    fd = sys_open(hidden, O_RDWR | O_CREAT | O_EXCL, 0666);
    if (fd < 0) return fd;
    sys_flock(fd, LOCK_EX);
    sys_rename(hidden, path);
    return fd;
}
