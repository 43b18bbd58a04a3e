/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/*
 * What all stubs share, without any libc: they run in every container and in every image, however small, and are
 * bind-mounted into images whose libc is not the node's.
 */

#define O_RDONLY 0
#define O_RDWR 2
#define O_CREAT 0100
#define O_EXCL 0200
#define O_CLOEXEC 02000000
#define O_DIRECTORY 0200000
#define LOCK_SH 1
#define LOCK_EX 2
#define LOCK_NB 4
#define S_IFMT 0170000
#define S_IFCHR 0020000
#define EPERM 1
#define ENOENT 2
#define ENXIO 6
#define NULL ((void *)0)

typedef unsigned long size_t;

struct status {
    unsigned long dev, ino, nlink;
    unsigned int mode, uid, gid, pad;
    unsigned long rdev;
    long size, blksize, blocks, times[6], reserved[3];
};

__asm__(".globl lab_syscall\nlab_syscall:\n"
        "mov %rdi,%rax\nmov %rsi,%rdi\nmov %rdx,%rsi\nmov %rcx,%rdx\nmov %r8,%r10\nmov %r9,%r8\nmov 8(%rsp),%r9\n"
        "syscall\nret\n");
long lab_syscall(long number, long a, long b, long c, long d, long e, long f);

#define call0(n) lab_syscall(n, 0, 0, 0, 0, 0, 0)
#define call1(n, a) lab_syscall(n, (long)(a), 0, 0, 0, 0, 0)
#define call2(n, a, b) lab_syscall(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define call3(n, a, b, c) lab_syscall(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define call4(n, a, b, c, d) lab_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

#define sys_read(fd, to, n) call3(0, fd, to, n)
#define sys_write(fd, from, n) call3(1, fd, from, n)
#define sys_open(path, flags, mode) call3(2, path, (flags) | O_CLOEXEC, mode)
#define sys_close(fd) call1(3, fd)
#define sys_stat(path, to) call2(4, path, to)
#define sys_getpid() call0(39)
#define sys_fork() call0(57)
#define sys_execve(path, argv, envp) call3(59, path, argv, envp)
#define sys_exit(rc) call1(231, rc)
#define sys_wait4(pid, to) call4(61, pid, to, 0, 0)
#define sys_flock(fd, how) call2(73, fd, how)
#define sys_rename(from, to) call2(82, from, to)
#define sys_mkdir(path, mode) call2(83, path, mode)
#define sys_unlink(path) call1(87, path)
#define sys_symlink(to, path) call2(88, to, path)
#define sys_readlink(path, to, n) call3(89, path, to, n)
#define sys_chmod(path, mode) call2(90, path, mode)
#define sys_geteuid() call0(107)
#define sys_setsid() call0(112)
#define sys_mknod(path, mode, dev) call3(133, path, mode, dev)
#define sys_time() call1(201, 0)
#define sys_getdents64(fd, to, n) call3(217, fd, to, n)

/* tcc calls these itself for structures and arrays. */
void *memset(void *to, int value, size_t n) { char *p = to; while (n--) *p++ = value; return to; }
void *memcpy(void *to, const void *from, size_t n)
{
    char *p = to; const char *q = from;
    while (n--) *p++ = *q++;
    return to;
}
void *memmove(void *to, const void *from, size_t n)
{
    char *p = to; const char *q = from;
    if (p <= q) return memcpy(to, from, n);
    while (n--) p[n] = q[n];
    return to;
}

static size_t length(const char *s) { size_t n = 0; while (s[n]) n++; return n; }
static int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
static int starts(const char *s, const char *prefix) { while (*prefix) if (*s++ != *prefix++) return 0; return 1; }

static char *find(const char *s, const char *what)
{
    for (; *s; s++) if (starts(s, what)) return (char *)s;
    return NULL;
}

static char *append(char *to, const char *s) { while ((*to = *s++)) to++; return to; }

static char *append_number(char *to, unsigned long value)
{
    char digits[24]; int n = 0;
    do digits[n++] = '0' + value % 10; while (value /= 10);
    while (n) *to++ = digits[--n];
    *to = 0;
    return to;
}

static unsigned long number(const char *s)
{
    unsigned long value = 0;
    while (*s >= '0' && *s <= '9') value = value * 10 + (*s++ - '0');
    return value;
}

/* Where a container of Docker, which has a /proc of its own, finds the folder of the kernel's stand-in. */
#define DRIVER "/proc/driver/nvidia"
#define DRIVER_IN_DOCKER "/run/nvidia-lab/driver"

static const char *driver_folder(void)
{
    struct status status;
    if (sys_stat(DRIVER "/lab", &status) == 0) return DRIVER;
    return sys_stat(DRIVER_IN_DOCKER "/lab", &status) == 0 ? DRIVER_IN_DOCKER : DRIVER;
}

static long read_file(const char *path, char *to, long size)
{
    long fd = sys_open(path, O_RDONLY, 0), done = 0, n;
    to[0] = 0;
    if (fd < 0) return fd;
    while (done < size - 1 && (n = sys_read(fd, to + done, size - 1 - done)) > 0) done += n;
    sys_close(fd);
    to[done] = 0;
    return done;
}

/* The value behind "key=" at the beginning of a line; empty when there is none. */
static char *value_of(const char *text, const char *key, char *to, int size)
{
    int n = 0;
    to[0] = 0;
    while (text && *text) {
        if (starts(text, key) && text[length(key)] == '=') {
            const char *from = text + length(key) + 1;
            while (*from && *from != '\n' && n < size - 1) to[n++] = *from++;
            to[n] = 0;
            return to;
        }
        if ((text = find(text, "\n"))) text++;
    }
    return to;
}

/* The first word of the form 580.76.05 in the line that begins so. */
static char *version_in(const char *text, char *to)
{
    const char *p = text;
    to[0] = 0;
    for (; *p && *p != '\n'; p++) {
        const char *q = p; int dots = 0;
        if (p > text && p[-1] != ' ') continue;
        while ((*q >= '0' && *q <= '9') || *q == '.') dots += *q++ == '.';
        if (dots >= 1 && q - p >= 6 && (*q == ' ' || *q == 0 || *q == '\n')) {
            memcpy(to, p, q - p);
            to[q - p] = 0;
            return to;
        }
    }
    return to;
}

/* The version of the loaded module; empty when none is. */
static char *loaded_version(char *to)
{
    char path[128], text[512];
    append(append(path, driver_folder()), "/version");
    to[0] = 0;
    return read_file(path, text, sizeof text) > 0 ? version_in(text, to) : to;
}

/*
 * A device whose driver does not exist answers ENXIO where the device rules of the container allow it, and EPERM where
 * they do not: that is as good as the real one for telling who may use what. Anything that is no device is no device.
 */
static int openable(const char *path)
{
    struct status status;
    long fd;
    if (sys_stat(path, &status) < 0 || (status.mode & S_IFMT) != S_IFCHR) return 0;
    fd = sys_open(path, O_RDWR, 0);
    if (fd >= 0) sys_close(fd);
    return fd >= 0 || fd == -ENXIO;
}

static unsigned long major_of(unsigned long dev) { return (dev >> 8 & 0xfff) | (dev >> 32 & ~0xfffUL); }
static unsigned long device_number(unsigned long major, unsigned long minor)
{
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffUL) << 12;
}

/* The major of a driver by /proc/devices; 0 when it has none. */
static unsigned long driver_major(const char *name)
{
    static char text[8192];
    char line[64], *p = text;
    if (read_file("/proc/devices", text, sizeof text) <= 0) return 0;
    append(append(append(line, " "), name), "\n");
    if (!(p = find(text, line))) return 0;
    while (p > text && p[-1] != '\n') p--;
    while (*p == ' ') p++;
    return number(p);
}

/* Only a node of the major that the driver has now is answered by it; Docker's containers see another /proc/devices. */
static int uvm_openable(void)
{
    struct status status;
    char path[128], text[512], major[16];
    append(append(path, driver_folder()), "/lab/majors");
    if (!openable("/dev/nvidia-uvm") || sys_stat("/dev/nvidia-uvm", &status) < 0) return 0;
    read_file(path, text, sizeof text);
    return number(value_of(text, "nvidia-uvm", major, sizeof major)) == major_of(status.rdev);
}

#define MAX_GPUS 32

struct gpu {
    int minor;
    int lost, unsupported;
    unsigned long total, reserved; /* MiB */
    char name[96], uuid[64], bus[32], device[16], capability[16], power[16];
};

/* Every GPU of the node, whether it can be opened or not, in the order of their minors. */
static int read_gpu(int minor, struct gpu *gpu)
{
    char path[128], text[1024], word[32];
    append_number(append(append(path, driver_folder()), "/lab/gpu"), minor);
    if (read_file(path, text, sizeof text) <= 0) return 0;
    gpu->minor = minor;
    value_of(text, "name", gpu->name, sizeof gpu->name);
    value_of(text, "uuid", gpu->uuid, sizeof gpu->uuid);
    value_of(text, "bus", gpu->bus, sizeof gpu->bus);
    value_of(text, "device", gpu->device, sizeof gpu->device);
    value_of(text, "compute_cap", gpu->capability, sizeof gpu->capability);
    value_of(text, "power_limit", gpu->power, sizeof gpu->power);
    gpu->total = number(value_of(text, "memory", word, sizeof word));
    gpu->reserved = number(value_of(text, "reserved", word, sizeof word));
    value_of(text, "state", word, sizeof word);
    gpu->lost = same(word, "lost");
    gpu->unsupported = same(word, "unsupported");
    return 1;
}

/* The GPUs that this process can open. */
static int usable_gpus(struct gpu *gpus)
{
    int minor, count = 0;
    char path[32];
    for (minor = 0; minor < MAX_GPUS; minor++) {
        append_number(append(path, "/dev/nvidia"), minor);
        if (openable(path) && read_gpu(minor, &gpus[count]) && !gpus[count].unsupported) count++;
    }
    return count;
}
