# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# pveproxy: the API server of the node, in the foreground as its unit wants it.

from __future__ import annotations

import signal
import sys
from types import FrameType

from ..api2.methods import ALL_METHODS
from ..http_server import CERTIFICATE, KEY, ApiServer
from ..real_system import RealSystem
from ..rest_environment import RestEnvironment


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if words not in (["start"], ["start", "--debug"]):
        print("ERROR: usage: pveproxy start [--debug]", file=sys.stderr)
        return 255
    system = RealSystem()
    server = ApiServer(
        system,
        ALL_METHODS,
        RestEnvironment,
        certificate=system.path(CERTIFICATE),
        key=system.path(KEY),
    )
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    with server:
        server.serve_forever()
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise SystemExit(0)
