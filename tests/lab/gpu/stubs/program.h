/*
 * Copyright: (c) 2026, the phoenix.hypervisor contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* The beginning of a program that has no libc. */

__asm__(".globl _start\n_start:\nmov %rsp,%rdi\nand $-16,%rsp\ncall lab_start\n");

static char **environment;
static int main(int argc, char **argv);

static char output[65536];
static long output_length;

static void flush(void)
{
    sys_write(1, output, output_length);
    output_length = 0;
}

static void put(const char *s)
{
    while (*s) {
        if (output_length == sizeof output) flush();
        output[output_length++] = *s++;
    }
}

static void put_number(unsigned long value)
{
    char text[24];
    append_number(text, value);
    put(text);
}

static void put_padded(const char *s, int width, int right)
{
    int blanks = width - (int)length(s);
    if (right) while (blanks-- > 0) put(" ");
    put(s);
    if (!right) while (blanks-- > 0) put(" ");
}

static void complain(const char *s) { sys_write(2, s, length(s)); }

static const char *variable(const char *name)
{
    char **p;
    for (p = environment; *p; p++) if (starts(*p, name) && (*p)[length(name)] == '=') return *p + length(name) + 1;
    return "";
}

static int run(const char *path, char **argv)
{
    int status = 0;
    long pid = sys_fork();
    if (pid == 0) {
        sys_execve(path, argv, environment);
        sys_exit(127);
    }
    if (pid < 0 || sys_wait4(pid, &status) < 0) return -1;
    return status >> 8 & 0xff;
}

void lab_start(long *stack)
{
    int rc, argc = stack[0];
    char **argv = (char **)(stack + 1);
    environment = argv + argc + 1;
    rc = main(argc, argv);
    flush();
    sys_exit(rc);
}
