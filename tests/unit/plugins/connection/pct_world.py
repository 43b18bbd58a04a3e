# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that is a directory: ssh, sudo, lxc-attach and pct that really run what they are given, on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import typing as t

# Leaves out the options, notes them, and gives the command to a shell as sshd does.
SSH = r"""#!/bin/sh
world=${0%/bin/*}
printf '%s\0' "$*" >>"$world/ssh.log"
while :; do
    case "$1" in
        -o) case "$2" in User=*) user=${2#User=}; esac; shift 2 ;;
        -O) exit 0 ;;
        -*) shift ;;
        *) break ;;
    esac
done
user=${user#\"}
export NODE_USER="${user%\"}" PATH="$world/bin:$PATH"
case "$1" in
    down) echo "ssh: connect to host down port 22: No route to host" >&2; exit 255 ;;
    desktop) export PATH=/nonexistent ;;
esac
exec /bin/sh -c "$2"
"""

SUDO = r"""#!/bin/sh
[ "$NODE_USER" != guest ] || { echo "sudo: a password is required" >&2; exit 1; }
[ "$1" = -n ] || exit 1
shift
NODE_USER=root exec "$@"
"""

# pct-transcripts 6: lxc-attach equivalents. The message on missing rights is that of LXC 5 and 6.
LXC_ATTACH = r"""#!/bin/sh
world=${0%/bin/*}
while :; do
    case "$1" in
        -n) id=$2; shift 2 ;;
        --clear-env) clear=-i; shift ;;
        --set-var) vars="$vars $2"; shift 2 ;;
        --version) echo 6.0.4; exit 0 ;;
        --) shift; break ;;
        *) echo "lxc-attach: invalid option -- '$1'" >&2; exit 1 ;;
    esac
done
here="lxc-attach: $id: ../src/lxc"
case "${NODE_USER:-root}" in
    root) ;;
    *) echo "$here/tools/lxc_attach.c: lxc_attach_main: 349 You lack access to /home/x/.local/share/lxc" >&2; exit 1 ;;
esac
[ ! -e "$world/ct/$id" ] || read -r state <"$world/ct/$id"
vars="$vars HOME=$world/home"
case "$state" in
    running) exec env $clear container=lxc $vars "$@" ;;
    full) trap '' XFSZ; ulimit -f 16; exec env $clear container=lxc $vars "$@" ;;
    lossy)
        { head -c 100 | env $clear container=lxc $vars "$@"; echo $? >"$world/rc"; } | head -c 50
        read -r rc <"$world/rc"; exit $rc ;;
esac
echo "$here/attach.c: get_attach_context: 406 Connection refused - Failed to get init pid" >&2
echo "$here/attach.c: lxc_attach: 1474 Connection refused - Failed to get attach context" >&2
exit 1
"""

# pct-transcripts 6: stopped CT, nonexistent CT, environment with --keep-env 0; section 1: status.
PCT = r"""#!/bin/sh
world=${0%/bin/*}
[ "${NODE_USER:-root}" = root ] || { echo "please run as root" >&2; exit 255; }
id=$2
[ -e "$world/ct/$id" ] || { echo "Configuration file 'nodes/pve1/lxc/$id.conf' does not exist" >&2; exit 2; }
read -r state <"$world/ct/$id"
case "$1" in
    status) case "$state" in stopped) echo "status: stopped" ;; *) echo "status: running" ;; esac; exit 0 ;;
    exec) ;;
    *) exit 255 ;;
esac
[ "$state" = running ] || { echo "container '$id' not running!" >&2; exit 255; }
[ "$3 $4 $5" = "--keep-env 0 --" ] || { echo "400 unable to parse option" >&2; exit 2; }
shift 5
for word; do
    shift
    [ "$word" != HOME=/root ] || word=HOME=$world/home
    set -- "$@" "$word"
done
exec env -i container=lxc TERM=linux PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""

# The sudo inside the container: asks as the real one does, and stays who it is.
CONTAINER_SUDO = r"""#!/bin/sh
while :; do
    case "$1" in
        -p) printf '%s' "$2" >&2; IFS= read -r word
            [ "$word" = "se cret" ] || { echo "Sorry, try again." >&2; exit 1; }; shift 2 ;;
        -u) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec "$@"
"""

# Loads the plugin as Ansible does and calls it; one process for many calls.
DRIVER = r"""
import json, resource, sys
from ansible.errors import AnsibleError
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import become_loader, connection_loader, init_plugin_loader

init_plugin_loader()
connections = {}
for line in sys.stdin:
    call = json.loads(line)
    key = json.dumps([call["vars"], call.get("become")])
    try:
        if key not in connections:
            connection = connection_loader.get("phoenix.hypervisor.pct", PlayContext(), None)
            connection.set_options(var_options=call["vars"])
            if call.get("become"):
                become = become_loader.get("sudo")
                become.set_options(direct=call["become"])
                connection.set_become_plugin(become)
            connections[key] = connection
        connection = connections[key]
        if call["op"] == "exec":
            command = call["command"]
            if connection.become:
                command = connection.become.build_become_command(command, connection._shell)
            stdin = call["stdin"].encode("latin-1") if call.get("stdin") else None
            rc, stdout, stderr = connection.exec_command(command, in_data=stdin, sudoable=call.get("sudoable", True))
            answer = {"rc": rc, "stdout": stdout.decode("latin-1"), "stderr": stderr.decode("latin-1")}
        elif call["op"] == "options":
            answer = {"options": sorted(connection.option_definitions), "pipelining": connection.has_pipelining}
        else:
            getattr(connection, call["op"])(*call.get("args", []))
            answer = {"rc": 0}
    except (AnsibleError, OSError) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    answer["peak_kb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(answer), flush=True)
"""

CALLBACK = r"""
import json, os
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: lines\ntype: stdout\nshort_description: one JSON line per result\ndescription: [x]\n"


class CallbackModule(CallbackBase):
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lines"

    def _line(self, status, result):
        with open(os.environ["LINES_FILE"], "a") as file:
            answer = {k: v for k, v in result.result.items() if not k.startswith("_")}
            file.write(json.dumps([result.host.get_name(), result.task.get_name(), status, answer]) + "\n")

    def v2_runner_on_ok(self, result):
        self._line("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._line("failed", result)

    def v2_runner_on_unreachable(self, result):
        self._line("unreachable", result)
"""


def collections_path() -> pathlib.Path:
    """Where Ansible finds the collection that is under test."""
    spec = importlib.util.find_spec("ansible_collections.phoenix.hypervisor.plugins.connection.pct")
    assert spec is not None
    assert spec.origin is not None
    return pathlib.Path(spec.origin.partition("/ansible_collections/")[0])


class World:
    """The node with its containers, and Ansible to reach them."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        for name in ("bin", "ct", "home", "callback", "control", "tmp"):
            (root / name).mkdir()
        programs = {"ssh": SSH, "sudo": SUDO, "lxc-attach": LXC_ATTACH, "pct": PCT, "container-sudo": CONTAINER_SUDO}
        for name, text in programs.items():
            program = root / "bin" / name
            program.write_text(text)
            program.chmod(0o755)
        states = {100: "running", 101: "stopped", 102: "running", 103: "full", 104: "lossy"}
        for ctid, state in states.items():
            (root / "ct" / str(ctid)).write_text(f"{state}\n")
        (root / "callback" / "lines.py").write_text(CALLBACK)
        (root / "ansible.cfg").touch()
        (root / "driver.py").write_text(DRIVER)
        self._driver: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "PYTEST"))}
        return clean | {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.root / "control"),
            "ANSIBLE_SSH_EXECUTABLE": str(self.root / "bin" / "ssh"),
            "ANSIBLE_CALLBACK_PLUGINS": str(self.root / "callback"),
            "ANSIBLE_STDOUT_CALLBACK": "lines",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_ASYNC_DIR": str(self.root / "tmp"),
            "ANSIBLE_REMOTE_TMP": str(self.root / "tmp"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "LINES_FILE": str(self.root / "lines"),
            "LEAKS": "from the node",
            "LC_ALL": "C.UTF-8",
        }

    def call(self, op: str, variables: dict[str, t.Any], **details: t.Any) -> dict[str, t.Any]:
        """One call of the plugin with these inventory variables."""
        if self._driver is None:
            # The driver lives as long as the world; stop() ends it.
            self._driver = subprocess.Popen(  # pylint: disable=consider-using-with
                [sys.executable, str(self.root / "driver.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self.environment,
                text=True,
            )
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        defaults = {"phoenix_node": "pve1", "phoenix_ctid": 100}
        self._driver.stdin.write(json.dumps({"op": op, "vars": defaults | variables, **details}) + "\n")
        self._driver.stdin.flush()
        answer: dict[str, t.Any] = json.loads(self._driver.stdout.readline())
        return answer

    def stop(self) -> None:
        if self._driver is not None:
            self._driver.communicate()

    def ssh_log(self) -> list[str]:
        log = self.root / "ssh.log"
        return log.read_text().split("\0")[:-1] if log.exists() else []

    def ansible(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"ansible.cli.{command}", *arguments],
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def play(self, inventory: dict[str, t.Any], plays: list[dict[str, t.Any]]) -> list[tuple[str, str, str, t.Any]]:
        """Run plays; what each task came to as (host, task, status, result)."""
        (self.root / "inventory.json").write_text(json.dumps(inventory))
        (self.root / "play.json").write_text(json.dumps(plays))
        lines = self.root / "lines"
        lines.unlink(missing_ok=True)
        done = self.ansible("playbook", "-i", "inventory.json", "play.json")
        assert lines.exists(), done.stdout + done.stderr
        return [tuple(json.loads(line)) for line in lines.read_text().splitlines()]
