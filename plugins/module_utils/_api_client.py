# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# One request to the Proxmox VE API and what can go wrong with it, in words that help.

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError, invalid

try:
    # First: proxmoxer ends the whole process when it does not find it.
    import requests
    from proxmoxer import ProxmoxAPI
    from proxmoxer.core import ResourceException

    HAS_PROXMOXER = True
except ImportError:
    HAS_PROXMOXER = False

# PVE itself waits up to 10 s for a container's lock file before it answers.
HTTP_TIMEOUT = 30

# From here on pveproxy's own status codes begin: it could not connect to what it passes the request on to (595), or
# lost the connection later.
NOT_PASSED_ON = 595

ROOT_ONLY = (
    "No API token may do this, not even one of root@pam: leave the api_* options out and run the task on the node "
    "as root."
)

# What PVE says, in an answer or as the end of a task, and what to do about it. No code: the one of the operation.
_KNOWN_TEXTS: tuple[tuple[str, Code | None, str], ...] = (
    (
        r"^Configuration file 'nodes/.+\.conf' does not exist",
        Code.NO_CONTAINER,
        "Create it first (phoenix.hypervisor.lxc_container), or correct the id or the node.",
    ),
    (
        r"no quorum|^unable to open file '/etc/pve/.* - Permission denied",
        None,
        "The cluster has no quorum, PVE can write nothing: bring the other nodes back (pvecm status), then run again.",
    ),
    (
        r"^detected modified configuration",
        None,
        "Somebody else changed the container since it was read: run the task again.",
    ),
    (
        r"^hostname lookup '.+' failed",
        Code.INPUT,
        "node: give the name that PVE itself uses for the node (pvesh get /nodes).",
    ),
    (
        r"^CT \d+ already exists on node",
        None,
        "Another run has just created it, or a creation that failed still holds the id for a moment: look at it first.",
    ),
    (r"^storage '.+' does not exist", Code.INPUT, "Name a storage of that node (pvesm status lists them)."),
    (
        r"^volume '.+:vztmpl/.+' does not exist",
        Code.INPUT,
        "Put the template there first (pveam download), or correct its name.",
    ),
    (
        r"^Linked clone feature for .+ is not available",
        Code.INPUT,
        "Use a full clone: a linked one needs a PVE template as its source, or a storage that links from snapshots.",
    ),
    (
        r"^Full clone of a running container",
        Code.INPUT,
        "Clone from one of its snapshots, or stop the source first.",
    ),
    (
        r"^unable to shrink disk size|^disk is already at specified size",
        Code.INPUT,
        "Give a size above the present one: a volume can grow, never shrink.",
    ),
    (
        r"^unable to modify read-only option",
        Code.INPUT,
        "PVE sets it at creation only: destroy the container and create it anew, or leave the option as it is.",
    ),
    (
        r"^Device /dev/\S+ does not exist",
        Code.INPUT,
        "Bring the device back on the node, or take the devN entry out with a task that runs on the node as root.",
    ),
    (r"^snapshot name '.+' already used", Code.SNAPSHOT, "Choose another name, or delete that snapshot first."),
    (r"^snapshot '.+' does not exist", Code.SNAPSHOT, "Name a snapshot that the container has."),
    (
        r"is not most recent snapshot on",
        Code.SNAPSHOT,
        "ZFS goes back to the newest snapshot only: roll back to that one, or delete the newer ones first.",
    ),
    (
        r"^snapshot feature is not available",
        Code.SNAPSHOT,
        "Take bind and device mount points out, and use a storage that can snapshot (ZFS, LVM-thin, Ceph, btrfs).",
    ),
    (r"^unable to use snapshot name '.+' \(reserved name\)", Code.SNAPSHOT, "Choose another name for the snapshot."),
    (
        r"^unable to destroy CT \d+ - container is running",
        Code.POWER,
        "Stop the container first.",
    ),
    (r"^(CT|VM) \d+ not running", Code.POWER, "It is stopped already, or it does not exist."),
    (r"^CT \d+ already running", Code.POWER, "It runs already: there is nothing to start."),
    (
        r"^command 'lxc-stop .+ failed",
        Code.POWER,
        "It did not end in time: see inside what holds its shutdown up, raise the timeout, or stop it hard.",
    ),
    (r"^startup for container '\d+' failed", Code.POWER, "The task's log lines below and the node's journal say why."),
)


class ApiError(PhoenixError):
    """PVE refused a request (reason: its own words), or no usable answer came back."""

    def __init__(
        self,
        reason: str,
        *,
        remedy: str,
        code: Code,
        status: int = 0,
        outcome_unknown: bool = False,
        **details: t.Any,
    ) -> None:
        super().__init__(reason, remedy=remedy, code=code, **details)
        self.status = status
        self.outcome_unknown = outcome_unknown
        """Whether PVE may have done, or may still be doing, what was asked."""

    @property
    def unreachable(self) -> bool:
        """No connection, no answer, or a proxying node that could not reach the next one."""
        return self.status == 0 or self.status >= NOT_PASSED_ON


class Transport(t.Protocol):
    """The part of proxmoxer.ProxmoxAPI that is used. Tests hand in their own."""

    def get(self, *path: str, **params: t.Any) -> t.Any: ...

    def post(self, *path: str, **params: t.Any) -> t.Any: ...

    def put(self, *path: str, **params: t.Any) -> t.Any: ...

    def delete(self, *path: str, **params: t.Any) -> t.Any: ...


def explain(text: str, code: Code) -> tuple[Code, str]:
    """The code and the remedy for what PVE says; C(code) where its words do not tell more."""
    for pattern, known_code, remedy in _KNOWN_TEXTS:
        if re.search(pattern, text):
            return known_code or code, remedy
    return code, "These are PVE's own words; the node's journal (journalctl -u pvedaemon) may say more."


_ARGUMENTS: tuple[tuple[str, str, str], ...] = (
    (
        "api_host",
        r"[\w.-]+|\[?[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}\]?",
        "the name or address of a node, without https:// and without a port",
    ),
    ("api_user", r"[^\s:/!@]+@[A-Za-z][\w.-]+", "the token's user with its realm, like root@pam"),
    ("api_token_id", r"[A-Za-z][\w.-]+", "the token's own name, which is what follows the ! (two characters or more)"),
    ("api_token_secret", r"[!-~]+", "the token's secret, which PVE shows once, when the token is made"),
    ("node", r"[A-Za-z0-9-]+", "the name that PVE itself uses for the node (pvesh get /nodes)"),
)


def open_connection(params: Mapping[str, t.Any]) -> Connection:
    """A session for the arguments of the API options; nothing is sent yet."""
    if not HAS_PROXMOXER:
        raise PhoenixError(
            missing_required_lib("proxmoxer"),
            remedy="Install it where the task runs (python3-proxmoxer, or pip install proxmoxer requests), or leave "
            "the api_* options out and run the task on the node as root.",
        )
    values = {}
    for key, pattern, meaning in _ARGUMENTS:
        values[key] = str(params.get(key) or "").strip()
        if not re.fullmatch(pattern, values[key]):
            shown = "" if key == "api_token_secret" else f"{values[key]!r} "
            problem = f"{shown}is not usable" if values[key] else "is missing, and without it the API cannot be used"
            raise PhoenixError(f"{key}: {problem}", remedy=f"Give {meaning}.", code=Code.INPUT)
    ca_path = params.get("ca_path")
    verify: bool | str = params["validate_certs"]
    if verify and ca_path:
        if not Path(ca_path).is_file():
            raise invalid("ca_path", ca_path, "is no file", "Copy /etc/pve/pve-root-ca.pem of a node to that place.")
        verify = str(ca_path)
    transport = ProxmoxAPI(
        values["api_host"],
        port=params["api_port"],
        user=values["api_user"],
        token_name=values["api_token_id"],
        token_value=values["api_token_secret"],
        verify_ssl=verify,
        timeout=HTTP_TIMEOUT,
        backend="https",
    )
    return Connection(
        transport, f"{values['api_host']}:{params['api_port']}", f"{values['api_user']}!{values['api_token_id']}"
    )


@dataclasses.dataclass(frozen=True)
class Connection:
    """Sends requests over one kept session; every failure is an ApiError."""

    transport: Transport
    host: str
    token: str

    def call(
        self,
        method: t.Literal["get", "post", "put", "delete"],
        path: tuple[str | int, ...],
        params: Mapping[str, t.Any] | None = None,
        *,
        code: Code = Code.GENERAL,
    ) -> t.Any:
        request = f"{method.upper()} /{'/'.join(map(str, path))}"
        send: Callable[..., t.Any] = getattr(self.transport, method)
        try:
            answer = send(*(quote(str(part), safe=":@!") for part in path), **(params or {}))
        # The causes are cut off: a traceback would show the headers' secret in the frames of the HTTP library.
        except ResourceException as error:
            raise self._refused(error, request, code) from None
        except (requests.RequestException, OSError) as error:
            raise self._no_answer(error, request, changing=method != "get") from None
        except (KeyError, TypeError, AttributeError):
            # proxmoxer takes every JSON answer for one of PVE's.
            raise self._no_pve(request) from None
        if isinstance(answer, dict) and isinstance(answer.get("errors"), bytes):
            raise self._no_pve(request)
        return answer

    def _refused(self, error: ResourceException, request: str, code: Code) -> ApiError:
        status = error.status_code
        text = _utf8(error.content or "").strip() or f"HTTP status {status}"
        if isinstance(error.errors, dict) and not any(isinstance(value, bytes) for value in error.errors.values()):
            wrong = "; ".join(f"{key}: {_one_line(value)}" for key, value in sorted(error.errors.items()))
            text = wrong if status == HTTPStatus.BAD_REQUEST else f"{text}: {wrong}"
        if status == HTTPStatus.BAD_REQUEST:
            code, remedy = Code.INPUT, "Correct that value: PVE refused the request before doing anything."
        elif status == HTTPStatus.UNAUTHORIZED:
            code, remedy = Code.INPUT, self._why_unauthenticated()
        elif status == HTTPStatus.FORBIDDEN:
            code, remedy = Code.INPUT, self._why_forbidden(text)
        elif status == HTTPStatus.NOT_IMPLEMENTED:
            remedy = f"{self.host} does not know this request: is it a Proxmox VE node, and a recent one?"
        elif status >= NOT_PASSED_ON:
            remedy = f"{self.host} answers, but what it passes requests on to does not: see to pvedaemon and the node."
        else:
            code, remedy = explain(text, code)
        return ApiError(
            text,
            remedy=remedy,
            code=code,
            status=status,
            outcome_unknown=status > NOT_PASSED_ON,
            api_request=request,
            api_status=status,
        )

    def _why_unauthenticated(self) -> str:
        return (
            f"The token {self.token} does not exist, its secret is another one, or it or its user has expired or is "
            "disabled. Check api_user (user@realm), api_token_id (what follows the !) and api_token_secret; PVE gives "
            "this answer 3 s late on purpose."
        )

    def _why_forbidden(self, text: str) -> str:
        if "only allowed for root@pam" in text:
            return ROOT_ONLY
        missing = re.search(r"\((/[^,]*), ([^)]+)\)", text)
        if missing is None:
            return (
                f"The token {self.token} lacks a privilege that PVE does not name. One that builds containers needs "
                "the roles PVEVMAdmin on /vms, PVEDatastoreUser on /storage and PVESDNUser on /sdn, and one that "
                "destroys them PVEAuditor on /."
            )
        path, privileges = missing.group(1), missing.group(2).replace("|", " or ")
        return (
            f"Give the token {self.token} {privileges} on {path} (pveum acl modify {path} --tokens '{self.token}' "
            "--roles ROLE). With privilege separation a token has only what was given to itself."
        )

    def _no_answer(self, error: Exception, request: str, *, changing: bool) -> ApiError:
        look = "The server may still be doing it: look at the container and its tasks before running again."
        unknown = False
        code = Code.GENERAL
        if isinstance(error, requests.exceptions.SSLError):
            code = Code.INPUT
            reason = f"api_host: {self.host} cannot be trusted: {_tls_problem(error)}"
            remedy = (
                "Set ca_path to the certificate of the cluster's CA (/etc/pve/pve-root-ca.pem on every node), and "
                "api_host to a name or address that the node's certificate carries."
            )
        elif isinstance(error, requests.exceptions.ReadTimeout):
            unknown = changing
            reason = f"api_host: {self.host} did not answer within {HTTP_TIMEOUT} s"
            remedy = look if changing else "See what keeps the node busy, then run again."
        elif isinstance(error, requests.exceptions.ConnectionError) and not _never_connected(error):
            unknown = changing
            reason = f"api_host: {self.host} ended the connection without an answer"
            remedy = look if changing else "See whether pveproxy was restarted on the node, then run again."
        elif isinstance(error, requests.exceptions.ConnectionError):
            reason = f"api_host: {self.host} cannot be reached: {_errno_text(error)}"
            remedy = "Check api_host and api_port, the network in between, and that pveproxy runs on the node."
        else:
            # Not its text: that of an unusable header, for one, quotes the secret.
            reason = f"api_host: the request to {self.host} failed ({type(error).__name__})"
            remedy = "Check api_host, api_port and ca_path."
        return ApiError(reason, remedy=remedy, code=code, outcome_unknown=unknown, api_request=request)

    def _no_pve(self, request: str) -> ApiError:
        return ApiError(
            f"api_host: {self.host} did not answer like the Proxmox VE API",
            remedy="Check that api_host and api_port lead to pveproxy and not to a portal or another service.",
            code=Code.INPUT,
            api_request=request,
        )


def _utf8(reason_phrase: str) -> str:
    """PVE writes UTF-8 into the status line, which HTTP libraries read as Latin-1."""
    try:
        return reason_phrase.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return reason_phrase


def _one_line(text: object) -> str:
    return ", ".join(line for line in str(text).splitlines() if line)


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return type(cause).__name__ in {"NewConnectionError", "NameResolutionError", "ProxyError"}


def _tls_problem(error: Exception) -> str:
    found = re.search(r"certificate verify failed: (.+?)(?: \(_ssl|'?\)|$)", str(error))
    return found.group(1) if found else "there is no TLS, or no certificate that can be checked"


def _errno_text(error: Exception) -> str:
    found = re.search(r"\[Errno -?\d+\] ([^)'\"]+)", str(error))
    return found.group(1) if found else "no answer"
