# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# A killed `pct create` or `pct clone` leaves a container with `lock: create`, and a clone its source with `lock: disk`.
# PVE cannot tell whose they are. A note written before the id existed can, and the lock held on that note by the very
# pct process (it inherits the descriptor) tells whether somebody is still at it.

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError, about
from ansible_collections.phoenix.hypervisor.plugins.module_utils._guests import Guest

DIRECTORY = "var/lib/phoenix_hypervisor/creating"

# A note does not prove that what now stands under the id came of it: the run may have been killed before there was
# anything, and the id been taken since. A clone carries this from its first moment until it has got its own settings.
UNFINISHED = "phoenix.hypervisor is making this container, do not start it"


@dataclasses.dataclass(frozen=True)
class Creation:
    """A creation that was begun: of which id, and cloned from which container if it was."""

    ctid: int
    source: int | None
    condemned: bool = False
    """Its remains are being removed, and what is still there must never pass for a finished copy."""

    def made(self, guest: Guest) -> bool:
        """Whether that container is what came of it."""
        if self.source is None:
            # pct create writes everything but a placeholder at its very end.
            return "rootfs" not in guest.config
        return guest.config.get("description", "").strip() == UNFINISHED


class CreationNotes:
    def __init__(self, root: Path) -> None:
        self._directory = root / DIRECTORY

    @contextlib.contextmanager
    def begun(self, creation: Creation) -> Iterator[int]:
        """Note a creation; gives the descriptor that pct has to inherit. The note stays when the block is cut short."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(creation.ctid)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(descriptor, creation.ctid)
            self._write(path, creation, descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    @staticmethod
    def _write(path: Path, creation: Creation, descriptor: int) -> None:
        try:
            with about(path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(dataclasses.asdict(creation)).encode())
        except OSError:
            # Nothing has begun, and half a note would say that somebody is at it.
            path.unlink(missing_ok=True)
            raise

    def abandoned(self, ctid: int) -> Creation | None:
        """The creation of that id that was begun and that nobody is working on any more."""
        with self.held(ctid) as creation:
            return creation

    @contextlib.contextmanager
    def held(self, ctid: int) -> Iterator[Creation | None]:
        """An abandoned creation that no other run can look after meanwhile, None when it is not abandoned."""
        with contextlib.ExitStack() as stack:
            creation = None
            with contextlib.suppress(OSError, ValueError):
                note = stack.enter_context(self._path(ctid).open("rb"))
                fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
                creation = _read(note)
            yield creation

    def condemn(self, creation: Creation) -> None:
        condemned = dataclasses.replace(creation, condemned=True)
        with about(self._path(creation.ctid)):
            self._path(creation.ctid).write_text(json.dumps(dataclasses.asdict(condemned)))

    def is_begun(self, ctid: int) -> bool:
        """Whether that creation was begun by one of our runs, which may still be at it."""
        return self._path(ctid).exists()

    def of_source(self, source: int) -> Creation | None:
        """The abandoned clone of a container, whatever id it was for; none while another clone of it is at work."""
        found = None
        for path in sorted(self._directory.glob("*.json")):
            with contextlib.suppress(OSError, ValueError), path.open("rb") as note:
                creation = _read(note)
                if creation.source == source:
                    found = self.abandoned(creation.ctid)
                    if found is None:
                        return None
        return found

    def done(self, ctid: int) -> None:
        self._path(ctid).unlink(missing_ok=True)

    def _path(self, ctid: int) -> Path:
        return self._directory / f"{ctid}.json"


def _read(note: t.IO[bytes]) -> Creation:
    content = json.load(note)
    return Creation(int(content["ctid"]), content["source"], content.get("condemned", False))


def _take(descriptor: int, ctid: int) -> None:
    # Another run may be looking just now whether the note is abandoned; that takes no time at all.
    for attempt in range(20):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01 * attempt)
    raise PhoenixError(
        f"ctid: {ctid} is being created by another run on this node",
        remedy="Wait until that run has ended, then run again.",
    )
