# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inventory import HEAD
from ansible_collections.phoenix.hypervisor.plugins.module_utils._inventory_files import Changes, apply, compare

ALL = "group_vars/all/phoenix.yml"
LAYER = "host_vars/BaseTemplate/phoenix.yml"
GONE = "host_vars/OldApplication/phoenix.yml"


def generated(text: str) -> str:
    return f"{HEAD}\n\n{text}\n"


FILES = {ALL: generated("a: 1"), LAYER: generated("b: 2"), "hosts.yml": generated("all: {}")}


def put(root: Path, **files: str) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


def bring(root: Path, files: dict[str, str]) -> Changes:
    """Applies, after proof that to compare writes nothing and that its prediction comes true."""
    before = tree(root) if root.exists() else None
    changes = compare(root, files)
    assert (tree(root) if root.exists() else None) == before
    apply(changes)
    for change in (*changes.written, *changes.removed):
        path = root / change.path
        assert (path.read_text() if path.exists() else None) == change.after
    assert not compare(root, files).any
    return changes


def test_a_new_inventory(tmp_path: Path) -> None:
    root = tmp_path / "new/home"
    assert bring(root, FILES).result() == {
        "changed": True,
        "written": [ALL, LAYER, "hosts.yml"],
        "removed": [],
        "unchanged": 0,
    }
    assert {path: text for path, text in tree(root).items() if text is not None} == {
        path: text.encode() for path, text in FILES.items()
    }


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    bring(tmp_path, FILES)
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))]
    again = bring(tmp_path, FILES)
    assert again.result() == {"changed": False, "written": [], "removed": [], "unchanged": 3}
    assert again.diff() == []
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))] == times


def test_one_file_that_differs(tmp_path: Path) -> None:
    bring(tmp_path, FILES)
    put(tmp_path, **{LAYER: generated("b: 3")})
    changes = bring(tmp_path, FILES)
    assert changes.result() == {"changed": True, "written": [LAYER], "removed": [], "unchanged": 2}
    assert changes.diff() == [
        {
            "before_header": LAYER,
            "after_header": LAYER,
            "before": generated("b: 3"),
            "after": generated("b: 2"),
        }
    ]


def test_a_file_that_is_not_text_any_more(tmp_path: Path) -> None:
    bring(tmp_path, FILES)
    (tmp_path / LAYER).write_bytes(HEAD.encode() + b"\n\xff\n")
    assert bring(tmp_path, FILES).written[0].before == f"{HEAD}\n\ufffd\n"


def test_a_container_that_left(tmp_path: Path) -> None:
    bring(tmp_path, {**FILES, GONE: generated("c: 3")})
    changes = bring(tmp_path, FILES)
    assert changes.result() == {"changed": True, "written": [], "removed": [GONE], "unchanged": 3}
    assert changes.diff()[0]["before"] == generated("c: 3")
    assert changes.diff()[0]["after"] == ""
    assert not (tmp_path / GONE).parent.exists()


def test_what_stands_beside_stays(tmp_path: Path) -> None:
    bring(tmp_path, {**FILES, GONE: generated("c: 3")})
    own = {
        "host_vars/OldApplication/local.yml": "mine: 1\n",
        "host_vars/BaseTemplate/local.yml": "mine: 2\n",
        "host_vars/Other/phoenix.yml": "mine: 3\n",
        "host_vars/Another.yml": "mine: 4\n",
        "group_vars/all/.hidden": "",
        "extra.yml": generated("mine: 5"),
    }
    put(tmp_path, **own)
    bring(tmp_path, FILES)
    assert {path: (tmp_path / path).read_text() for path in own} == own
    assert not (tmp_path / GONE).exists()


def test_an_empty_folder_of_somebody_stays(tmp_path: Path) -> None:
    (tmp_path / "host_vars/Later").mkdir(parents=True)
    bring(tmp_path, FILES)
    assert (tmp_path / "host_vars/Later").is_dir()


def test_files_of_a_person_are_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path, **{LAYER: "mine: 1\n", "hosts.yml": "all: {}\n", GONE: generated("c: 3")})
    before = tree(tmp_path)
    with pytest.raises(PhoenixError) as raised:
        compare(tmp_path, FILES)
    assert str(raised.value) == (
        f"{tmp_path}: these files were not generated, and are not overwritten:\n{LAYER}\nhosts.yml. "
        "Move their settings to other names in the same folders, such as local.yml, and run again."
    )
    assert raised.value.details["files"] == [LAYER, "hosts.yml"]
    assert tree(tmp_path) == before


def test_a_link_is_the_work_of_a_person(tmp_path: Path) -> None:
    put(tmp_path, **{"elsewhere.yml": generated("d: 4")})
    (tmp_path / "host_vars/OldApplication").mkdir(parents=True)
    (tmp_path / GONE).symlink_to(tmp_path / "elsewhere.yml")
    bring(tmp_path, FILES)
    assert (tmp_path / GONE).is_symlink()
    with pytest.raises(PhoenixError, match="these files were not generated"):
        compare(tmp_path, {**FILES, GONE: generated("d: 4")})


def test_a_folder_that_is_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/OldApplication").symlink_to(tmp_path / "elsewhere")
    put(tmp_path, **{GONE: generated("c: 3")})
    bring(tmp_path, FILES)
    assert (tmp_path / "host_vars/OldApplication").is_symlink()
    assert not (tmp_path / "elsewhere/phoenix.yml").exists()


def test_a_file_whose_folder_was_removed_meanwhile(tmp_path: Path) -> None:
    bring(tmp_path, {**FILES, GONE: generated("c: 3")})
    changes = compare(tmp_path, FILES)
    (tmp_path / GONE).unlink()
    apply(changes)
    assert not (tmp_path / GONE).parent.exists()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "Not a directory"),
        ("host_vars", "Not a directory"),
        ("host_vars/BaseTemplate", "Not a directory"),
        ("hosts.yml/", "Is a directory"),
    ],
    ids=["the destination is a file", "host_vars is a file", "a host's folder is a file", "a file is a folder"],
)
def test_a_destination_that_cannot_be(tmp_path: Path, path: str, problem: str) -> None:
    root = tmp_path / "home"
    if path.endswith("/"):
        (root / path).mkdir(parents=True)
    else:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    before = tree(tmp_path)
    with pytest.raises(PhoenixError) as raised:
        compare(root, FILES)
    assert str(root) in raised.value.reason
    assert raised.value.reason.endswith(f": {problem}")
    assert tree(tmp_path) == before


def test_a_file_that_cannot_be_written_leaves_no_trace(tmp_path: Path) -> None:
    changes = compare(tmp_path, FILES)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all").write_text("in the way")
    with pytest.raises(PhoenixError, match="group_vars/all"):
        apply(changes)
    assert sorted(tree(tmp_path)) == ["group_vars", "group_vars/all"]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    bring(tmp_path, FILES)
    changes = compare(tmp_path, {**FILES, "hosts.yml": generated("new")})
    (tmp_path / "hosts.yml").unlink()
    (tmp_path / "hosts.yml/in the way").mkdir(parents=True)
    with pytest.raises(PhoenixError, match=r"hosts\.yml"):
        apply(changes)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_files_have_the_rights_that_the_user_gives_new_files(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        bring(tmp_path, FILES)
    finally:
        os.umask(old)
    assert (tmp_path / "hosts.yml").stat().st_mode & 0o777 == 0o640
