#!/bin/sh
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# NVIDIA's installer as its silent mode is known: its options, its checks in its order, its texts, its files. Needs no
# more than a base system, like the real one.

# Options become variables by their names; installer.sh, which lies beside it or in /usr/lib/nvidia, uses the rest.
# shellcheck disable=SC1091,SC2034,SC2154

VERSION=@VERSION@
DESCRIPTION='NVIDIA Accelerated Graphics Driver for Linux-x86_64'
STATE=/var/lib/nvidia
RECORD=$STATE/log
PROGRAM=$0
export LC_ALL=C PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin"

# Options without a value; those behind the version were not known to older installers.
PLAIN="version help advanced-options accept-license driver-info uninstall skip-module-unload sanity expert no-questions
 silent no-nvidia-modprobe no-precompiled-interface no-abi-note no-rpms no-backup no-recursion kernel-module-only
 kernel-modules-only no-kernel-module no-x-check no-nouveau-check run-nvidia-xconfig no-sigwinch-workaround
 no-distro-scripts no-opengl-files no-wine-files no-kernel-module-source no-check-for-alternate-installs
 no-unified-memory no-drm no-peermem force-libglx-indirect no-libglx-indirect skip-depmod no-ncurses-color debug
 help-args-only add-this-kernel advanced-options-args-only no-runlevel-check no-network no-cc-version-check"
BOOLEAN="disable-nouveau dkms install-compat32-libs install-libglvnd systemd glvnd-glx-client glvnd-egl-client
 install-vdpau-wrapper"
STRING="x-prefix xfree86-prefix x-module-path x-library-path x-sysconfig-path opengl-prefix opengl-libdir wine-prefix
 wine-libdir compat32-chroot compat32-prefix compat32-libdir installer-prefix utility-prefix utility-libdir xdg-data-dir
 gbm-backend-dir gbm-backend-dir32 documentation-prefix application-profile-path kernel-include-path kernel-source-path
 kernel-output-path kernel-install-path proc-mount-point log-file-name tmpdir ui kernel-name
 precompiled-kernel-interfaces-path force-selinux selinux-chcon-type kernel-module-source-prefix
 kernel-module-source-dir module-signing-secret-key module-signing-public-key module-signing-script
 module-signing-key-path module-signing-hash module-signing-x509-hash concurrency-level glvnd-egl-config-path
 egl-external-platform-config-path override-file-type-destination systemd-unit-prefix systemd-sleep-prefix
 systemd-sysconf-prefix kernel-module-build-directory rpm-file-list force-tls force-tls-compat32"

number() { echo "$1" | { IFS=. read -r a b c; printf '%d%03d%03d' "$a" "${b#0}" "${c#0}"; }; }
since() { [ "$(number $VERSION)" -ge "$(number "$1")" ]; }
since 515.43.04 && PLAIN="$PLAIN no-kernel-modules"
since 545.23.06 && PLAIN="$PLAIN allow-installation-with-running-driver" BOOLEAN="$BOOLEAN rebuild-initramfs"
since 550.40.07 && PLAIN="$PLAIN skip-module-load"
since 555.42.02 && STRING="$STRING kernel-module-type"
since 570.86.16 && PLAIN="$PLAIN print-recommended-kernel-module-type"

# shellcheck disable=SC2086,SC2116  # Newlines in the list become blanks.
is_in() { case " $(echo $2) " in *" $1 "*) return 0 ;; esac; return 1; }
# The value of an option is kept in a variable of its name.
set_option() { eval "opt_$(echo "$1" | tr - _)=\$2"; }

refuse()
{
    echo "$PROGRAM: $1" >&2
    # shellcheck disable=SC2016  # The quotes are the message's own.
    printf '\nERROR: Invalid commandline, please run `%s --help` for usage information.\n\n\n' "$PROGRAM" >&2
    exit 1
}

long_name()
{
    case "$1" in
        v) echo version ;; h) echo help ;; A) echo advanced-options ;; a) echo accept-license ;; i) echo driver-info ;;
        e) echo expert ;; q) echo no-questions ;; s) echo silent ;; c) echo no-ncurses-color ;; k) echo kernel-name ;;
        n) echo no-precompiled-interface ;; b) echo no-backup ;; r) echo no-recursion ;; K) echo kernel-module-only ;;
        z) echo no-nouveau-check ;; Z) echo disable-nouveau ;; X) echo run-nvidia-xconfig ;; N) echo no-network ;;
        j) echo concurrency-level ;; d) echo debug ;; m) echo kernel-module-build-directory ;;
        M) echo kernel-module-type ;; *) echo "?" ;;
    esac
}

parse()
{
    while [ $# -gt 0 ]; do
        word=$1
        case "$word" in
            --*) name=${word#--} ;;
            -*) name=${word#-} ;;
            *) refuse "unrecognized option: \"$word\"" ;;
        esac
        value='' given=n
        case "$name" in *=*) value=${name#*=} name=${name%%=*} given=y ;; esac
        [ ${#name} -eq 1 ] && name=$(long_name "$name")
        if is_in "$name" "$PLAIN"; then
            [ $given = n ] || refuse "option \"$name\" does not take an argument, but was given an argument of \"$value\"."
            set_option "$name" y
        elif is_in "$name" "$BOOLEAN"; then
            set_option "$name" y
        elif is_in "${name#no-}" "$BOOLEAN"; then
            set_option "${name#no-}" n
        elif is_in "$name" "$STRING"; then
            if [ $given = n ]; then
                [ $# -ge 2 ] || refuse "option \"$name\" requires an argument."
                shift
                value=$1
            fi
            set_option "$name" "$value"
        else
            refuse "unrecognized option: \"$word\""
        fi
        shift
    done
}

log() { [ -z "$LOG" ] || printf '%s\n' "$1" >> "$LOG"; }
note() { log "-> $1"; }
say() { printf '\n%s: %s\n\n' "$1" "$2" | fold -s -w 79 | sed '3,$s/^\(.\)/       \1/' >&2; log "$1: $2"; }
fail() { say ERROR "$1"; }
warn() { say WARNING "$1"; }

failed()
{
    fail "Installation has failed.  Please see the file '$LOG' for details.  You may find suggestions on fixing installation problems in the README available on the Linux driver download page at www.nvidia.com."
    exit 1
}

start_log()
{
    LOG=${opt_log_file_name:-$1}
    : > "$LOG" || { echo "nvidia-installer: Error opening log file '$LOG' for writing; disabling logging." >&2; LOG=; }
    log "nvidia-installer log file '$LOG'"
    log "creation time: $(date)"
    log "installer version: $VERSION"
    log ""
    log "PATH: $PATH"
    log ""
    log "nvidia-installer command line:"
    shift
    for word in "$PROGRAM" "$@"; do log "    $word"; done
    log ""
}

# The messages that come with a choice that nobody is asked.
answered() { note "$1 (Answer: $2)"; }

check_tools()
{
    for tool in ldconfig:glibc grep:grep; do
        command -v "${tool%:*}" > /dev/null && continue
        package=${tool#*:} tool=${tool%:*}
        fail "Unable to find the system utility \`$tool\`; please make sure you have the package '$package' installed.  If you do have $package installed, then please check that \`$tool\` is in your PATH."
        exit 1
    done
    for tool in modprobe rmmod lsmod depmod; do
        command -v $tool > /dev/null && continue
        fail "Unable to find the module utility \`$tool\`; please make sure you have the package 'kmod' installed.  If you do have 'kmod' installed, then please check that \`$tool\` is in your PATH."
        exit 1
    done
}

case "$PROGRAM" in ./*) . ./installer.sh ;; *) . /usr/lib/nvidia/installer.sh ;; esac

main()
{
    parse "$@"
    [ "$opt_no_kernel_modules" = y ] && opt_no_kernel_module=y
    case "$(basename "$PROGRAM")" in nvidia-uninstall) opt_uninstall=y ;; esac
    if [ "$opt_version" = y ]; then
        printf '\nnvidia-installer:  version %s\n  The NVIDIA Software Installer for Unix/Linux.\n\n' $VERSION
        exit 0
    elif [ "$opt_help$opt_advanced_options" != "" ]; then
        printf '\nnvidia-installer:  version %s\n\n%s [options]\n\n' $VERSION "$PROGRAM"
        for name in $PLAIN; do echo "  --$name"; done
        for name in $BOOLEAN; do echo "  --$name, --no-$name"; done
        for name in $STRING; do echo "  --$name=VALUE"; done
        exit 0
    elif [ "$(id -u)" != 0 ]; then
        printf '\nERROR: nvidia-installer must be run as root\n\n' >&2
        exit 1
    elif [ "$opt_print_recommended_kernel_module_type" = y ]; then
        recommended_type
        exit 0
    fi
    if [ "$opt_uninstall" = y ]; then
        start_log /var/log/nvidia-uninstall.log "$@"
        check_tools
        [ -f $RECORD ] || { fail "There is no NVIDIA driver currently installed."; exit 1; }
        uninstall || exit 1
        exit 0
    fi
    start_log /var/log/nvidia-installer.log "$@"
    check_tools
    if [ "$opt_silent$opt_no_questions$opt_accept_license" = "" ]; then
        fail "The stand-in of the installer asks nothing: use --silent."
        exit 1
    elif [ "$opt_driver_info" = y ]; then
        [ -f $RECORD ] || { fail "There is no NVIDIA driver currently installed."; exit 1; }
        echo "The currently installed driver is: '$(sed -n 2p $RECORD)' (version: $(installed_version))."
        exit 0
    elif [ "$opt_sanity" = y ]; then
        sanity
        exit $?
    fi
    install_driver
}
main "$@"
