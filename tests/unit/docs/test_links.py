# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Links within the project lead somewhere, and every guide can be found.

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.phoenix.hypervisor.tests.unit.docs.commands import CHECKOUT, PAGES

FILES = [path for pattern in PAGES for path in sorted(CHECKOUT.glob(pattern))]
REPOSITORY = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())["repository"]
HERE = re.compile(rf"{re.escape(REPOSITORY)}/(?:blob|tree)/main/")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", FILES, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        base = CHECKOUT if HERE.match(link) else page.parent
        place, _mark, anchor = HERE.sub("", link).partition("#")
        if not re.match(r"\w+:", place):
            target = base / place if place else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page() -> None:
    index = (CHECKOUT / "docs/README.md").read_text()
    pages = {path.name for path in (CHECKOUT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()
