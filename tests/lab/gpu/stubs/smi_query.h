/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* nvidia-smi's --query-gpu and --query-compute-apps, and who holds memory. */

#define MAX_USERS 256

struct user { unsigned long pid, bytes; int minor; };
static struct user users[MAX_USERS];
static int user_count;
static char locks[131072];

/* The owner of a lock by the kernel's own list, in the numbers of this container; 0 for a process outside of it. */
static unsigned long holder(unsigned long inode)
{
    char wanted[32], *p = locks;
    append(append_number(append(wanted, ":"), inode), " ");
    while ((p = find(p, wanted))) {
        char *line = p, *word;
        while (line > locks && line[-1] != '\n') line--;
        if ((word = find(line, "WRITE ")) && word < p) return number(word + 6 + (word[6] == ' '));
        p++;
    }
    return 0;
}

static void remember(int minor, unsigned long bytes, unsigned long inode)
{
    unsigned long pid = holder(inode);
    int i;
    if (!pid) return;
    for (i = 0; i < user_count; i++) {
        if (users[i].pid != pid || users[i].minor != minor) continue;
        users[i].bytes += bytes;
        return;
    }
    if (user_count == MAX_USERS) return;
    users[user_count].pid = pid;
    users[user_count].minor = minor;
    users[user_count++].bytes = bytes;
}

static void read_users(void)
{
    read_file("/proc/locks", locks, sizeof locks);
    user_count = 0;
    each_allocation(remember);
}

static void process_name(unsigned long pid, char *to, int size)
{
    char path[64], text[512];
    append(append_number(append(path, "/proc/"), pid), "/cmdline");
    if (read_file(path, text, sizeof text) <= 0 || !text[0]) append(text, "[Not Found]");
    text[size - 1] = 0;
    append(to, text);
}

static int has_word(const char *list, const char *word)
{
    const char *p = list;
    for (; (p = find(p, word)); p++)
        if ((p == list || p[-1] == ',') && (!p[length(word)] || p[length(word)] == ',')) return 1;
    return 0;
}

static const struct { const char *name, *title, *unit; } fields[] = {
    {"index", "index", ""}, {"name", "name", ""}, {"gpu_name", "name", ""}, {"uuid", "uuid", ""},
    {"gpu_uuid", "gpu_uuid", ""}, {"count", "count", ""}, {"driver_version", "driver_version", ""},
    {"pci.bus_id", "pci.bus_id", ""}, {"gpu_bus_id", "pci.bus_id", ""}, {"pci.device_id", "pci.device_id", ""},
    {"memory.total", "memory.total", "MiB"}, {"memory.used", "memory.used", "MiB"},
    {"memory.free", "memory.free", "MiB"}, {"memory.reserved", "memory.reserved", "MiB"},
    {"utilization.gpu", "utilization.gpu", "%"}, {"utilization.memory", "utilization.memory", "%"},
    {"temperature.gpu", "temperature.gpu", ""}, {"compute_cap", "compute_cap", ""}, {"power.draw", "power.draw", "W"},
    {"power.limit", "power.limit", "W"}, {"persistence_mode", "persistence_mode", ""},
    {"compute_mode", "compute_mode", ""}, {"mig.mode.current", "mig.mode.current", ""}, {"pstate", "pstate", ""},
    {"fan.speed", "fan.speed", "%"}, {"ecc.mode.current", "ecc.mode.current", ""}, {"serial", "serial", ""},
    {"gpu_serial", "gpu_serial", ""}, {"display_active", "display_active", ""}, {"accounting.mode", "accounting.mode", ""},
};

static int persistence_of(const struct gpu *gpu)
{
    char path[128], text[8];
    append_number(append(append(path, driver_folder()), "/lab/persistence"), gpu->minor);
    return read_file(path, text, sizeof text) > 0 && text[0] == '1';
}

static int set_persistence(struct gpu *gpus, int count, int on)
{
    char path[128];
    int i;
    for (i = 0; i < count; i++) {
        long fd;
        append_number(append(append(path, driver_folder()), "/lab/persistence"), gpus[i].minor);
        fd = sys_open(path, O_RDWR | O_CREAT, 0644);
        if (fd < 0) {
            put("Unable to set persistence mode for GPU ");
            put(gpus[i].bus);
            put(": Insufficient Permissions\nTerminating early due to previous error.\n");
            return 4;
        }
        put(persistence_of(&gpus[i]) == on ? "Persistence mode is already " : on ? "Enabled persistence mode for GPU "
                                                                                : "Disabled persistence mode for GPU ");
        if (persistence_of(&gpus[i]) == on) put(on ? "Enabled for GPU " : "Disabled for GPU ");
        put(gpus[i].bus);
        put(".\n");
        sys_write(fd, on ? "1" : "0", 1);
        sys_close(fd);
    }
    put("All done.\n");
    return 0;
}

static void field_value(const struct gpu *gpu, int index, int count, const char *field, const char *driver, char *to)
{
    unsigned long used;
    to[0] = 0;
    if (same(field, "index")) append_number(to, index);
    else if (same(field, "name") || same(field, "gpu_name")) append(to, gpu->name);
    else if (same(field, "uuid") || same(field, "gpu_uuid")) append(to, gpu->uuid);
    else if (same(field, "count")) append_number(to, count);
    else if (same(field, "driver_version")) append(to, driver);
    else if (same(field, "pci.bus_id") || same(field, "gpu_bus_id")) append(to, gpu->bus);
    else if (same(field, "pci.device_id")) append(append(to, gpu->device), "10DE");
    else if (same(field, "compute_cap")) append(to, gpu->capability);
    else if (same(field, "memory.total")) append_number(to, gpu->total);
    else if (same(field, "memory.reserved")) append(to, "0");
    else if (same(field, "memory.used") || same(field, "memory.free")) {
        used = used_bytes(gpu) + 0xfffff >> 20;
        append_number(to, same(field, "memory.used") ? used : gpu->total - used);
    }
    else if (same(field, "temperature.gpu")) append(to, "35");
    else if (same(field, "power.draw")) append(to, "5.21");
    else if (same(field, "power.limit")) append(append(to, gpu->power), ".00");
    else if (same(field, "persistence_mode")) append(to, persistence_of(gpu) ? "Enabled" : "Disabled");
    else if (same(field, "compute_mode")) append(to, "Default");
    else if (same(field, "pstate")) append(to, "P8");
    else if (starts(field, "utilization.") || same(field, "fan.speed")) append(to, "0");
    else if (starts(field, "display_") || starts(field, "accounting.")) append(to, "Disabled");
    else append(to, "[N/A]");
}

static int next_word(const char **list, char *to)
{
    int n = 0;
    while (**list == ' ') (*list)++;
    while (**list && **list != ',' && n < 63) to[n++] = *(*list)++;
    to[n] = 0;
    if (**list == ',') (*list)++;
    return n > 0;
}

static int bad_field(const char *word)
{
    put("Field \"");
    put(word);
    put("\" is not a valid field to query.\n\n");
    return 2;
}

static int check_format(const char *format)
{
    if (has_word(format, "csv")) return 0;
    put("\"--format=\" is missing or has no valid value. Please run 'nvidia-smi -h' for help.\n\n");
    return 2;
}

static int query_gpus(struct gpu *gpus, int count, const char *query, const char *format, const char *driver)
{
    const char *p;
    char word[64], value[128];
    int i, n, gpu, known = sizeof fields / sizeof fields[0];
    if (check_format(format)) return 2;
    for (p = query, n = 0; next_word(&p, word); n++) {
        for (i = 0; i < known && !same(fields[i].name, word); i++);
        if (i == known) {
            output_length = 0;
            return bad_field(word);
        }
        if (has_word(format, "noheader")) continue;
        put(n ? ", " : "");
        put(fields[i].title);
        if (fields[i].unit[0] && !same(fields[i].unit, "%")) put(" ["), put(fields[i].unit), put("]");
        if (same(fields[i].unit, "%")) put(" [%]");
    }
    if (!has_word(format, "noheader")) put("\n");
    for (gpu = 0; gpu < count; gpu++) {
        for (p = query, n = 0; next_word(&p, word); n++) {
            for (i = 0; !same(fields[i].name, word); i++);
            put(n ? ", " : "");
            field_value(&gpus[gpu], gpu, count, word, driver, value);
            put(value);
            if (fields[i].unit[0] && value[0] != '[' && !has_word(format, "nounits")) put(" "), put(fields[i].unit);
        }
        put("\n");
    }
    return 0;
}

static int app_value(const struct user *user, const struct gpu *gpu, const char *field, char *to, int titles)
{
    if (same(field, "pid")) titles ? append(to, "pid") : append_number(to, user->pid);
    else if (same(field, "process_name") || same(field, "name"))
        titles ? (void)append(to, "process_name") : process_name(user->pid, to, 256);
    else if (same(field, "used_memory") || same(field, "used_gpu_memory"))
        titles ? append(append(append(to, field), " [MiB]"), "") : append_number(to, user->bytes + 0xfffff >> 20);
    else if (same(field, "gpu_uuid")) append(to, titles ? "gpu_uuid" : gpu->uuid);
    else if (same(field, "gpu_name")) append(to, titles ? "gpu_name" : gpu->name);
    else if (same(field, "gpu_bus_id")) append(to, titles ? "gpu_bus_id" : gpu->bus);
    else if (same(field, "gpu_serial")) append(to, titles ? "gpu_serial" : "[N/A]");
    else return 0;
    return 1;
}

static int query_apps(struct gpu *gpus, int count, const char *query, const char *format)
{
    const char *p;
    char word[64], value[256];
    int i, n, user;
    if (check_format(format)) return 2;
    for (p = query, n = 0; next_word(&p, word); n++) {
        if (!app_value(NULL, NULL, word, value, 1)) {
            output_length = 0;
            return bad_field(word);
        }
        if (!has_word(format, "noheader")) put(n ? ", " : ""), put(value);
    }
    if (!has_word(format, "noheader")) put("\n");
    read_users();
    for (i = 0; i < count; i++) {
        for (user = 0; user < user_count; user++) {
            if (users[user].minor != gpus[i].minor) continue;
            for (p = query, n = 0; next_word(&p, word); n++) {
                put(n ? ", " : "");
                app_value(&users[user], &gpus[i], word, value, 0);
                put(value);
                if (starts(word, "used_") && !has_word(format, "nounits")) put(" MiB");
            }
            put("\n");
        }
    }
    return 0;
}
