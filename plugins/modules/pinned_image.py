#!/usr/bin/python
# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pinned_image
short_description: Have a Docker image there, pinned to the digest that its tag had once
version_added: 1.0.0
author:
  - The phoenix.hypervisor contributors (@phoenix-hypervisor)
description:
  - Pulls an image, or loads it from an archive, and records the digest that its tag stood for. Every later run, and
    every container that is cloned with the record, uses that very image, whatever the tag means by then.
  - An image that is there already under its tag is taken as it is, without asking a registry.
  - Before a pull the registry is asked how large the image is, packed. Four times of that has to be free where Docker
    stores images, layers that are there already included, or nothing is downloaded. When the registry does not say it
    within 30 seconds, the pull is tried.
  - Uses nothing but the C(docker) command of the machine that it runs on.
extends_documentation_fragment:
  - phoenix.hypervisor.attributes
attributes:
  check_mode:
    support: full
    details:
      - Neither pulls nor loads. What a tag stands for is not known before it has been resolved.
      - Asks no registry, so whether there is room for the image is not known either.
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: linux
    support: full
    details: Runs where Docker is, mostly inside a container, as root.
options:
  image:
    description:
      - The image, as V(repository:tag), V(repository:tag@sha256:…) or V(repository@sha256:…).
      - With a digest it is exactly that image. A tag is resolved once; one that means another image every few days,
        such as V(latest), brings a warning.
      - Without it the image of the record is used.
    type: str
  archive:
    description:
      - A file made by C(docker save), on the machine that the module runs on. It is loaded when the image is not there,
        and no registry is asked.
      - An image out of an archive is pinned to its own identity, for where Docker does not keep images in containerd it
        has no digest of a registry.
      - Where O(image) has a digest, the archive has to have the manifest of that digest, or it is not loaded. What
        C(docker save) writes has it where Docker keeps its images in containerd, as Docker 29 does.
    type: path
  record:
    description: Where the image is recorded.
    type: path
    required: true
  timeout:
    description: How many seconds the download, or the loading, may take.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: What latest is today, for ever
  phoenix.hypervisor.pinned_image:
    image: vllm/vllm-openai:latest
    record: /etc/phoenix-hypervisor/vllm-image.json

- name: Exactly this one
  phoenix.hypervisor.pinned_image:
    image: vllm/vllm-openai:v0.25.1@sha256:908a76fb243e61c3cfc9d9d369c23ded3a4f40b6bd8e0c8f611aa9a4ec9767d2
    record: /etc/phoenix-hypervisor/vllm-image.json

- name: Without a network
  phoenix.hypervisor.pinned_image:
    image: vllm/vllm-openai:v0.25.1
    archive: /srv/images/vllm-openai-v0.25.1.tar
    record: /etc/phoenix-hypervisor/vllm-image.json
"""

RETURN = r"""
reference:
  description: The image that was asked for.
  type: str
  returned: success
  sample: vllm/vllm-openai:latest
image:
  description: The image to run. Empty in check mode when the tag was never resolved, or the archive never loaded.
  type: str
  returned: success
  sample: vllm/vllm-openai@sha256:908a76fb243e61c3cfc9d9d369c23ded3a4f40b6bd8e0c8f611aa9a4ec9767d2
digest:
  description: Its digest in the registry. Empty when it comes from an archive, and none was asked for.
  type: str
  returned: when the image is there
id:
  description: Its own identity.
  type: str
  returned: when the image is there
cuda:
  description: The CUDA version that the image is built with, empty when it does not say.
  type: str
  returned: when the image is there
  sample: 13.0.2
resolved:
  description: When the tag was resolved.
  type: str
  returned: when the image is there
  sample: "2026-11-20T14:05:00Z"
code:
  description: The kind of a failure. 1 is general, 2 invalid input, 4 verification.
  type: int
  returned: failure
reason:
  description: What is wrong.
  type: str
  returned: failure
remedy:
  description: What to do about a failure.
  type: str
  returned: failure
"""

import datetime as dt

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.phoenix.hypervisor.plugins.module_utils._docker import Docker
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import reporting
from ansible_collections.phoenix.hypervisor.plugins.module_utils._pinned_image import PinnedImage, Request


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str"},
            "archive": {"type": "path"},
            "record": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    now = dt.datetime.now(dt.UTC)
    with reporting(module.fail_json):
        result = PinnedImage(Request(**module.params), Docker(), check_mode=module.check_mode, now=now).run()
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
