/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* The daemon that keeps the GPUs initialised: it holds the driver in use as long as it runs. */

#include "lab.h"
#include "versions.h"
#include "program.h"

#define FOLDER "/var/run/nvidia-persistenced"
#define PID_FILE FOLDER "/nvidia-persistenced.pid"
#define SIGTERM 15

struct action { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask; };
void lab_restore(void);
__asm__(".globl lab_restore\nlab_restore:\nmov $15,%rax\nsyscall\n");

/* The users that rmmod and the collection count: the module's reference count. */
static void count_user(int change)
{
    char text[32];
    long fd, n;
    if (read_file("/sys/module/nvidia/refcnt", text, sizeof text) <= 0) return;
    n = number(text) + change;
    fd = sys_open("/sys/module/nvidia/refcnt", O_RDWR | 01000, 0);
    if (fd < 0) return;
    append(append_number(text, n < 0 ? 0 : n), "\n");
    sys_write(fd, text, length(text));
    sys_close(fd);
}

static void persist(char on)
{
    char path[128];
    struct status status;
    int minor;
    for (minor = 0; minor < MAX_GPUS; minor++) {
        long fd;
        append_number(append(path, "/dev/nvidia"), minor);
        if (sys_stat(path, &status) < 0) continue;
        append_number(append(append(path, driver_folder()), "/lab/persistence"), minor);
        if ((fd = sys_open(path, O_RDWR | O_CREAT, 0644)) < 0) continue;
        sys_write(fd, &on, 1);
        sys_close(fd);
    }
}

static void end(int signal)
{
    persist('0');
    count_user(-1);
    sys_unlink(PID_FILE);
    sys_exit(0);
}

static int main(int argc, char **argv)
{
    struct action action = {end, 0x04000000, lab_restore, 0};
    char text[32], *make[] = {"nvidia-modprobe", "-c", "255", "-c", "0", NULL};
    struct status status;
    long fd, pid;
    int i, persistence = 1;
    for (i = 1; i < argc; i++) {
        if (same(argv[i], "--no-persistence-mode")) persistence = 0;
        else if ((same(argv[i], "--user") || same(argv[i], "-u") || same(argv[i], "--group") || same(argv[i], "-g"))
                 && i + 1 < argc) i++;
        else if (same(argv[i], "--version") || same(argv[i], "-v")) {
            put("nvidia-persistenced:  version ");
            put(own_driver(text));
            put("\n");
            return 0;
        }
        else if (!same(argv[i], "--verbose") && !same(argv[i], "-V") && !same(argv[i], "--persistence-mode")
                 && !same(argv[i], "--uvm-persistence-mode") && !starts(argv[i], "--user=")
                 && !starts(argv[i], "--nvidia-cfg-path")) {
            complain("nvidia-persistenced failed to initialize. Check syslog for more details.\n");
            return 1;
        }
    }
    if (sys_stat("/dev/nvidiactl", &status) < 0) run("/usr/bin/nvidia-modprobe", make);
    if (!loaded_version(text)[0] || !openable("/dev/nvidiactl")) {
        complain("nvidia-persistenced failed to initialize. Check syslog for more details.\n");
        return 1;
    }
    pid = sys_fork();
    if (pid > 0) {
        sys_mkdir(FOLDER, 0755);
        fd = sys_open(PID_FILE, O_RDWR | O_CREAT | 01000, 0644);
        append(append_number(text, pid), "\n");
        if (fd >= 0) sys_write(fd, text, length(text));
        return 0;
    }
    sys_setsid();
    call4(13, SIGTERM, &action, NULL, 8);
    call4(13, 2, &action, NULL, 8);
    for (fd = 0; fd < 3; fd++) sys_close(fd);
    if (persistence) persist('1');
    count_user(1);
    for (;;) call0(34);
}
