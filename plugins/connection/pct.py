# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: pct
short_description: Run tasks in the LXC containers of a Proxmox VE node
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - The inventory host is the container. The plugin logs in to the container's node with ssh and enters the
    container there, so the container needs neither an ssh server nor a network.
  - Works like the P(ansible.builtin.ssh#connection) plugin, on which it is built, with its connection sharing and
    pipelining. All containers of a node share one ssh connection.
  - Inside the container tasks are run by root, with a clean environment and root's home as the working directory.
    C(become) acts inside the container.
  - Files are streamed into and out of the container, never stored on the node, and compared by checksum.
requirements:
  - The container has C(sh), C(cat), C(tee), C(stat) and C(sha256sum), as every distribution has.
options:
  host:
    description:
      - The Proxmox VE node that the container is on, as ssh finds it.
      - C(ansible_host) is the container's own address and has no effect on this plugin.
    type: string
    required: true
    vars:
      - name: phoenix_node
  node_user:
    description:
      - The user to log in to the node with. What the container knows as a user is the business of C(become).
      - If no user is given, the ssh client chooses it.
    type: string
    ini:
      - section: defaults
        key: remote_user
    env:
      - name: ANSIBLE_REMOTE_USER
    vars:
      - name: ansible_user
      - name: ansible_ssh_user
    cli:
      - name: user
    keyword:
      - name: remote_user
  node_local:
    description:
      - Whether Ansible runs on the node itself, so that no ssh is needed.
      - By default this is so if O(host) is V(localhost).
    type: bool
    vars:
      - name: phoenix_node_local
  node_sudo:
    description:
      - Whether to enter the container with C(sudo) on the node. It must not ask for a password.
      - By default this is so if the user on the node is known and is not V(root).
    type: bool
    vars:
      - name: phoenix_node_sudo
  ctid:
    description: The id of the container, from V(100) to V(999999999).
    type: int
    required: true
    vars:
      - name: phoenix_ctid
  method:
    description: The command that enters the container.
    type: string
    default: lxc-attach
    choices:
      lxc-attach: Takes milliseconds.
      pct: Proxmox VE's own C(pct exec). Takes about half a second more for every command.
    vars:
      - name: phoenix_method
  use_tty:
    description: Whether to ask for a terminal where C(become) has to type in a password.
extends_documentation_fragment:
  - phoenix.hypervisor.ssh_connection
notes:
  - Pipelining makes this plugin about twice as fast, as it does with ssh. Set C(ansible_pipelining=true).
  - A command that exits with 255 is a failed command, while with ssh it would be an unreachable host.
  - A container that is stopped or missing, or that cannot be entered for another reason, is an unreachable host.
seealso:
  - plugin: ansible.builtin.ssh
    plugin_type: connection
  - module: phoenix.hypervisor.lxc_container
"""

EXAMPLES = r"""
# inventory.yml: the node, and two of its containers
all:
  children:
    phoenix_nodes:
      hosts:
        pve1:
          ansible_host: 192.0.2.10
          ansible_user: root
    phoenix_containers:
      vars:
        ansible_connection: phoenix.hypervisor.pct
        ansible_pipelining: true
        ansible_user: root
        phoenix_node: 192.0.2.10
      hosts:
        BaseTemplate:
          phoenix_ctid: 900
        vllmQwen3Coder:
          phoenix_ctid: 950

# The same, with Ansible running on the node
#   phoenix_node: localhost

# A user on the node who may use sudo without a password
#   ansible_user: admin
"""

import contextlib
import os
import pathlib
import re
import secrets
import shlex
import typing as t

from ansible.errors import (
    AnsibleAuthenticationFailure,
    AnsibleConnectionFailure,
    AnsibleError,
    AnsibleRequiredOptionError,
)
from ansible.module_utils.common.text.converters import to_bytes, to_native
from ansible.plugins.connection.ssh import Connection as SshConnection
from ansible.utils.display import Display
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import check_ctid
from ansible_collections.phoenix.hypervisor.plugins.plugin_utils import _container_files as files

display = Display()

Result = tuple[int, bytes, bytes]
Input = bytes | files.Upload | None
Output = pathlib.Path | None

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = (_PATH, "HOME=/root", "USER=root", "LOGNAME=root")

# ssh answers 255 when it cannot connect, so no command may end with it; $0 is a word that no command can guess.
_STANDS_FOR_255 = 254
_ON_NODE = f'export LC_ALL=C; "$@"%s; rc=$?; [ $rc -ne 255 ] || {{ echo "$0" >&2; rc={_STANDS_FOR_255}; }}; exit $rc'

_NOT_ENTERED = re.compile(
    rb"^(?:lxc-attach: .*Failed to get init pid|container '\d+' not running!"
    rb"|Configuration file 'nodes/.* does not exist|.*\b(?:lxc-attach|pct): (?:command )?not found)",
    re.MULTILINE,
)
_NO_RIGHT = re.compile(
    rb"^(?:lxc-attach: .*(?:You lack access|Insufficent privileges)|please run as root)", re.MULTILINE
)
_SUDO_FAILED = re.compile(rb"^(?:sudo: (?!unable to resolve)|.*\bsudo: (?:command )?not found)", re.MULTILINE)


class Connection(SshConnection):  # type: ignore[misc]
    """The ssh plugin, logged in to the node and one step further."""

    transport = "phoenix.hypervisor.pct"
    # Ansible's actions ask who the tasks are run by; having no option remote_user makes them read this.
    default_user = "root"

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._marker = f"phoenix-{secrets.token_hex(8)}"
        self._download: Output = None

    def set_options(self, *args: t.Any, **kwargs: t.Any) -> None:
        try:
            super().set_options(*args, **kwargs)
        except AnsibleRequiredOptionError as error:
            raise AnsibleError("A container needs phoenix_ctid and phoenix_node in the inventory.") from error

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Result:
        """Run a command in the container."""
        return self._in_container(files.at_home(cmd), in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> None:
        """Send a file to the container."""
        display.vvv(f"PUT {in_path} TO {out_path}", host=self._where)
        upload = files.Upload(in_path)
        rc, _stdout, stderr = self._in_container(files.put_argv(out_path, upload), upload, sudoable=False)
        if rc:
            raise AnsibleError(f"Cannot write {out_path} in {self._where}: {_reason(stderr)}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Get a file from the container."""
        display.vvv(f"FETCH {in_path} TO {out_path}", host=self._where)
        target = files.local_path(out_path)
        partial = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            argv = files.fetch_argv(in_path)
            rc, _stdout, stderr = self._in_container(argv, None, sudoable=False, download=partial)
            sent = files.fetched_checksum(stderr)
            if rc or not sent:
                raise AnsibleError(f"Cannot read {in_path} in {self._where}: {_reason(stderr)}")
            if sent != files.checksum(partial):
                raise AnsibleError(f"Cannot read {in_path} in {self._where}: another checksum arrived than was sent")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def reset(self) -> None:
        """Close the shared connection to the node."""
        if self._is_local:
            self.close()
        else:
            super().reset()

    @property
    def _ctid(self) -> str:
        ctid = self.get_option("ctid")
        try:
            check_ctid(ctid)
        except PhoenixError as error:
            raise AnsibleError(f"phoenix_{error}") from error
        return str(ctid)

    @property
    def _where(self) -> str:
        return f"container {self._ctid} on node {self.get_option('host')}"

    @property
    def _is_local(self) -> bool:
        chosen = self.get_option("node_local")
        return self.get_option("host") == "localhost" if chosen is None else bool(chosen)

    @property
    def _uses_sudo(self) -> bool:
        chosen = self.get_option("node_sudo")
        if chosen is not None:
            return bool(chosen)
        return os.geteuid() != 0 if self._is_local else self.get_option("node_user") not in (None, "", "root")

    def _in_container(self, argv: list[str], in_data: Input, *, sudoable: bool, download: Output = None) -> Result:
        if self.get_option("method") == "pct":
            enter = ["pct", "exec", self._ctid, "--keep-env", "0", "--", "env", *_ENVIRONMENT]
        else:
            variables = [word for variable in _ENVIRONMENT for word in ("--set-var", variable)]
            enter = ["lxc-attach", "-n", self._ctid, "--clear-env", *variables, "--"]
        rc, stdout, stderr = self._on_node([*enter, *argv], in_data, sudoable=sudoable, download=download)
        # With a terminal stderr is part of stdout.
        complaint = stderr + b"\n" + stdout[:4096]
        signs = (_NOT_ENTERED, _NO_RIGHT, _SUDO_FAILED) if self._uses_sudo else (_NOT_ENTERED, _NO_RIGHT)
        if rc and any(sign.search(complaint) for sign in signs):
            self._explain(complaint)
        return rc, stdout, stderr

    def _on_node(
        self, argv: list[str], in_data: Input = None, *, sudoable: bool = False, download: Output = None
    ) -> Result:
        self._download = download
        no_stdin = "" if in_data or self._expects_prompt(sudoable) else " </dev/null"
        sudo = ["sudo", "-n"] if self._uses_sudo else []
        command = shlex.join(["/bin/sh", "-c", _ON_NODE % no_stdin, self._marker, *sudo, *argv])
        rc, stdout, stderr = super().exec_command(command, in_data=in_data, sudoable=sudoable)
        mark = re.compile(to_bytes(self._marker) + rb"\r*\n")
        if rc == _STANDS_FOR_255 and (mark.search(stderr) or mark.search(stdout)):
            return 255, mark.sub(b"", stdout), mark.sub(b"", stderr)
        return rc, stdout, stderr

    def _expects_prompt(self, sudoable: bool) -> bool:
        return bool(sudoable and self.become and self.become.expect_prompt())

    def _explain(self, complaint: bytes) -> None:
        """Raise what keeps us out of the container; when nothing does, a command just printed such a thing."""
        host = self.get_option("host")
        status = ["pct", "status", self._ctid]
        entry = status if self.get_option("method") == "pct" else ["lxc-attach", "--version"]
        rc, stdout, stderr = self._on_node(entry)
        if rc and self._uses_sudo and _SUDO_FAILED.search(stderr):
            raise AnsibleAuthenticationFailure(
                f"The user on node {host} may not run {entry[0]} with sudo. "
                f"Allow that without a password, or log in as root: {_reason(stderr)}"
            )
        if rc and b"not found" in stderr:
            raise AnsibleConnectionFailure(
                f"Node {host} has no command {entry[0]}. phoenix_node must name a Proxmox VE node: {_reason(stderr)}"
            )
        if entry != status:
            rc, stdout, stderr = self._on_node(status)
        if b"status: running" in stdout:
            return
        if b"status: stopped" in stdout:
            raise AnsibleConnectionFailure(
                f"Container {self._ctid} on node {host} is not running. Start it: pct start {self._ctid}"
            )
        if b"does not exist" in stderr:
            raise AnsibleConnectionFailure(
                f"There is no container {self._ctid} on node {host}. Check phoenix_ctid and phoenix_node."
            )
        if _NO_RIGHT.search(complaint):
            raise AnsibleAuthenticationFailure(
                f"The user on node {host} may not enter containers. Log in as root, "
                f"or set phoenix_node_sudo if the user has sudo there: {_reason(complaint)}"
            )
        if _NOT_ENTERED.search(complaint):
            raise AnsibleConnectionFailure(f"Cannot enter {self._where}: {_reason(complaint)}")

    def _build_command(self, binary: str, subsystem: str, *other_args: bytes | str) -> list[bytes]:
        command: list[bytes]
        if self._is_local:
            # The ssh plugin handles become only where it finds the name of ssh; here it is the shell's $0.
            command = [b"/bin/sh", b"-c", to_bytes(other_args[-1]), to_bytes(binary)]
            position = 0
        else:
            if not self._expects_prompt(True):
                # A terminal would merge stderr into stdout and change line ends.
                other_args = tuple(argument for argument in other_args if argument != "-tt")
            self._options["remote_user"] = self.get_option("node_user")
            try:
                command = super()._build_command(binary, subsystem, *other_args)
            finally:
                del self._options["remote_user"]
            # ansible-core 2.19 puts sshpass before ssh, and looks for it there.
            position = command.index(to_bytes(binary))
        if self._download:
            redirect = 'out=$1; shift; exec "$@" >"$out"'
            command[position:position] = [b"/bin/sh", b"-c", to_bytes(redirect), b"sh", os.fsencode(self._download)]
        return command

    def _send_initial_data(self, fh: t.IO[bytes], in_data: bytes | files.Upload, ssh_process: t.Any) -> None:
        try:
            if isinstance(in_data, files.Upload):
                in_data.send(fh)
            else:
                fh.write(to_bytes(in_data))
            fh.close()
        except BrokenPipeError:
            # The command has ended without reading on; its exit code says what that means.
            with contextlib.suppress(BrokenPipeError):
                fh.close()


def _reason(stderr: bytes) -> str:
    return to_native(stderr).strip() or "the command gave no reason"
