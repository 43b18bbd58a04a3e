/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* Which file the loader would take for a library, and which version it says it is. */

/* Two numbers of a version, as NVML tells its own: 580.76. */
static char *shortened(const char *version)
{
    static char text[32];
    int dots = 0, n = 0;
    for (; version[n] && n < 31; n++) {
        if (version[n] == '.' && ++dots == 2) break;
        text[n] = version[n];
    }
    text[n] = 0;
    return text;
}

/* The text behind a mark in a file, or the version at the end of the file's real name. */
static void library_mark(long fd, const char *mark, char *to)
{
    static char block[65536];
    char link[64], target[512];
    long n, i, at = 0, matched = 0, width = length(mark);
    to[0] = 0;
    while ((n = sys_read(fd, block, sizeof block)) > 0) {
        for (i = 0; i < n; i++) {
            if (matched < width) {
                matched = block[i] == mark[matched] ? matched + 1 : block[i] == mark[0];
            } else if (block[i] && block[i] != '@' && at < 16) {
                to[at++] = block[i];
                to[at] = 0;
            } else if (at) return;
            else matched = 0;
        }
    }
    append_number(append(link, "/proc/self/fd/"), fd);
    n = sys_readlink(link, target, sizeof target - 1);
    if (n <= 0) return;
    target[n] = 0;
    for (i = n; i > 4; i--) {
        if (!starts(target + i - 4, ".so.")) continue;
        if (length(target + i) > 4) append(to, target + i);
        return;
    }
}

static int try_library(const char *path, char *driver, char *cuda)
{
    long fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0) return 0;
    if (driver) library_mark(fd, "phoenix-lab-driver=", driver);
    if (cuda) library_mark(fd, "phoenix-lab-cuda=", cuda);
    sys_close(fd);
    return 1;
}

/* The loader's order: LD_LIBRARY_PATH, its cache, its own directories. */
static int find_library(const char *name, char *driver, char *cuda)
{
    static const char *directories[] = {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64",
                                        "/lib", "/usr/lib"};
    static char cache[262144];
    const char *paths = variable("LD_LIBRARY_PATH");
    char path[512];
    long fd, n, at, i;
    while (*paths) {
        char *p = path;
        while (*paths && *paths != ':' && p < path + 400) *p++ = *paths++;
        if (*paths == ':') paths++;
        *p++ = '/';
        append(p, name);
        if (try_library(path, driver, cuda)) return 1;
    }
    if ((fd = sys_open("/etc/ld.so.cache", O_RDONLY, 0)) >= 0) {
        n = 0;
        while (n < (long)sizeof cache - 1 && (at = sys_read(fd, cache + n, sizeof cache - 1 - n)) > 0) n += at;
        sys_close(fd);
        cache[n] = 0;
        for (at = 1; at < n; at++) {
            if (cache[at - 1] != '/' || !same(cache + at, name)) continue;
            for (i = at - 1; i > 0 && cache[i - 1]; i--);
            if (cache[i] == '/' && try_library(cache + i, driver, cuda)) return 1;
        }
    }
    for (i = 0; i < (long)(sizeof directories / sizeof directories[0]); i++) {
        append(append(append(path, directories[i]), "/"), name);
        if (try_library(path, driver, cuda)) return 1;
    }
    return 0;
}
