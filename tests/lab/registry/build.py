# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds what the lab's registry serves: `python3 -m lab.registry.build /srv/registry`, as root in the lab's image, "
"offline."""

from __future__ import annotations

import sys
from pathlib import Path

from .images import all_images
from .oci import RegistryStorage, save_archive
from .userland import Root

ADDRESS = "127.0.0.1:5000"


def registry_config(storage: Path) -> str:
    """docker-registry's configuration: it reads what lies there and takes nothing away."""
    return f"""\
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: {storage}
  delete:
    enabled: false
http:
  addr: {ADDRESS}
  headers:
    X-Content-Type-Options: [nosniff]
"""


CONFIGURATION = registry_config(Path("/srv/registry"))


def build(out: Path, root: Path = Path("/")) -> None:
    """Registry storage in out/docker, its configuration out/config.yml, archives for `docker load` in out/archives."""
    storage = RegistryStorage(out)
    for published in all_images(Root(root)):
        storage.add(published.repository, published.tags, published.image)
        if published.archive:
            name = published.reference.replace("/", "-").replace(":", "-")
            save_archive(out / "archives" / f"{name}.tar", [published.reference], published.image)
    (out / "config.yml").write_text(registry_config(out))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
