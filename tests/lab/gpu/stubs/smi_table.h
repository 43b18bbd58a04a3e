/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* nvidia-smi without arguments, and with -q. */

#define LINE "-----------------------------------------"

static void put_memory(const struct gpu *gpu)
{
    char text[48];
    append(append_number(text, used_bytes(gpu) + 0xfffff >> 20), "MiB");
    put_padded(text, 11, 1);
    put(" / ");
    append(append_number(text, gpu->total), "MiB");
    put_padded(text, 9, 1);
}

static void put_processes(struct gpu *gpus, int count)
{
    char name[256], text[32];
    int i, n, shown = 0;
    read_users();
    for (i = 0; i < count; i++) {
        for (n = 0; n < user_count; n++) {
            if (users[n].minor != gpus[i].minor) continue;
            put("| ");
            append_number(text, i);
            put_padded(text, 4, 1);
            put("   N/A  N/A ");
            append_number(text, users[n].pid);
            put_padded(text, 16, 1);
            put("      C   ");
            process_name(users[n].pid, name, 39);
            put_padded(name, 38, 0);
            append(append_number(text, users[n].bytes + 0xfffff >> 20), "MiB");
            put_padded(text, 8, 1);
            put(" |\n");
            shown = 1;
        }
    }
    if (!shown) put("|  No running processes found                                                             |\n");
}

static int show_table(struct gpu *gpus, int count, const char *library, const char *module, const char *cuda)
{
    char text[32];
    int i;
    put("+" LINE LINE "-------+\n| NVIDIA-SMI ");
    put_padded(library, 23, 0);
    put("Driver Version: ");
    put_padded(module, 15, 0);
    put("CUDA Version: ");
    put_padded(cuda, 9, 0);
    put("|\n+" LINE "+------------------------+----------------------+\n"
        "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |\n"
        "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |\n"
        "|                                         |                        |               MIG M. |\n"
        "|=========================================+========================+======================|\n");
    for (i = 0; i < count; i++) {
        put("| ");
        append_number(text, i);
        put_padded(text, 3, 1);
        put("  ");
        put_padded(gpus[i].name, 27, 0);
        put(persistence_of(&gpus[i]) ? "    On  |   " : "   Off  |   ");
        put(gpus[i].bus);
        put(" Off |                  N/A |\n|  0%   35C    P8              5W / ");
        append(append(text, gpus[i].power), "W");
        put_padded(text, 5, 1);
        put(" |");
        put_memory(&gpus[i]);
        put(" |      0%      Default |\n|                                         |                        |"
            "                  N/A |\n+" LINE "+------------------------+----------------------+\n");
    }
    put("\n+" LINE LINE "-------+\n"
        "| Processes:                                                                              |\n"
        "|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |\n"
        "|        ID   ID                                                               Usage      |\n"
        "|=========================================================================================|\n");
    put_processes(gpus, count);
    put("+" LINE LINE "-------+\n");
    return 0;
}

static void put_detail(const char *name, const char *value)
{
    put("    ");
    put_padded(name, 38, 0);
    put(": ");
    put(value);
    put("\n");
}

static int show_details(struct gpu *gpus, int count, const char *module, const char *cuda)
{
    char text[64];
    int i;
    put("\n==============NVSMI LOG==============\n\n");
    put("Driver Version                            : ");
    put(module);
    put("\nCUDA Version                              : ");
    put(cuda);
    put("\n\nAttached GPUs                             : ");
    put_number(count);
    put("\n");
    for (i = 0; i < count; i++) {
        put("GPU ");
        put(gpus[i].bus);
        put("\n");
        put_detail("Product Name", gpus[i].name);
        put_detail("Persistence Mode", persistence_of(&gpus[i]) ? "Enabled" : "Disabled");
        put_detail("GPU UUID", gpus[i].uuid);
        append_number(text, gpus[i].minor);
        put_detail("Minor Number", text);
        put("    FB Memory Usage\n    ");
        append(append_number(text, gpus[i].total), " MiB");
        put_detail("Total", text);
        append(append_number(text, used_bytes(&gpus[i]) + 0xfffff >> 20), " MiB");
        put("    ");
        put_detail("Used", text);
        append(append_number(text, gpus[i].total - (used_bytes(&gpus[i]) + 0xfffff >> 20)), " MiB");
        put("    ");
        put_detail("Free", text);
    }
    put("\n");
    return 0;
}
