# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import re
import shutil
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from .workbench import Workbench

COLLECTION = "phoenix.hypervisor"

# The artefact holds these and nothing else; what only a checkout needs belongs in build_ignore of galaxy.yml.
CONTENTS = {
    "CHANGELOG.md",
    "FILES.json",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "REUSE.toml",
    "bindep.txt",
    "changelogs",
    "docs",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "requirements.yml",
    "roles",
    "schemas",
}

_VERSION = re.compile(r"^version: (\S+)$", re.MULTILINE)

_OF_A_DEPENDENCY = re.compile(r"couldn't resolve module/action '(community\.docker|awx\.awx)\.\w+'")

# What jobs in an execution environment need: the API's libraries, and an ssh client.
_OF_AN_EXECUTION_ENVIRONMENT = ("proxmoxer", "requests", "openssh-client ", "openssh-clients ")


def run(bench: Workbench, _arguments: list[str]) -> None:
    target = bench.output / "artefact"
    shutil.rmtree(target, ignore_errors=True)
    galaxy = [bench.tool("ansible-galaxy"), "collection"]
    if not bench.check("build", [*galaxy, "build", f"--output-path={target}"]):
        return
    (artefact,) = target.glob("*.tar.gz")
    _contents(bench, artefact)
    bench.check(
        "importer", [bench.tool("python"), "-m", "galaxy_importer.main", str(artefact)], cwd=target, complaint=_warnings
    )
    installed = target / "installed"
    only_this = {"ANSIBLE_COLLECTIONS_PATH": str(installed)}
    install = [*galaxy, "install", "--offline", "--no-deps", f"--collections-path={installed}", str(artefact)]
    if not bench.check("install", install, env=only_this):
        return
    _execution_environment(bench, target, installed)
    for kind, folder in (("module", "modules"), ("connection", "connection")):
        names = sorted(path.stem for path in (bench.tree / "plugins" / folder).glob("[!_]*.py"))
        listing = [bench.tool("ansible-doc"), f"--type={kind}", "--list", "--json", COLLECTION]
        bench.check(
            f"ansible-doc lists each {kind}",
            listing,
            cwd=target,
            env=only_this,
            complaint=functools.partial(_unlisted, names),
        )
    _pages(bench, target / "pages", only_this)
    _release(bench, target / "release")


def _contents(bench: Workbench, artefact: Path) -> None:
    started = time.monotonic()
    with tarfile.open(artefact) as archive:
        found = {Path(name).parts[0] for name in archive.getnames()}
    problems = [f"does not belong into the artefact: {name}" for name in sorted(found - CONTENTS)]
    problems += [f"is missing in the artefact: {name}" for name in sorted(CONTENTS - found)]
    bench.report.check("contents", passed=not problems, seconds=time.monotonic() - started, output="\n".join(problems))


def _execution_environment(bench: Workbench, target: Path, installed: Path) -> None:
    """Everything that needs no registry: the build's context, and what the collection asks of the image."""
    definition = "execution-environment.yml"
    shutil.copyfile(bench.tree / definition, target / definition)
    builder = bench.tool("ansible-builder")
    # Without a name the file is called after the program, of podman and docker, that is there.
    create = [builder, "create", f"--file={definition}", "--context=context", "--output-filename=Containerfile"]
    if not bench.check("ansible-builder create", create, cwd=target):
        return
    bench.check(
        "the image gets what the collection needs",
        [builder, "introspect", str(installed)],
        cwd=target,
        complaint=_unasked,
    )
    _context(bench, target / "context")


def _context(bench: Workbench, context: Path) -> None:
    started = time.monotonic()
    wanted = {
        "Containerfile": "introspect --write-bindep=",
        "_build/requirements.yml": "phoenix-hypervisor-",
    }
    problems = [
        f"{name} lacks {text}"
        for name, text in wanted.items()
        if not (context / name).exists() or text not in (context / name).read_text(encoding="utf-8")
    ]
    if not list(context.glob("_build/collections/phoenix-hypervisor-*.tar.gz")):
        problems.append("the artefact is missing in _build/collections")
    bench.report.check(
        "the context has the collection",
        passed=not problems,
        seconds=time.monotonic() - started,
        output="\n".join(problems),
    )


def _pages(bench: Workbench, pages: Path, env: Mapping[str, str]) -> None:
    """A page for each module, role and plugin, from nothing but their own documentation."""
    pages.mkdir()
    words = ["collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--output-format=simplified-rst"]
    made = bench.check(
        "pages", [bench.tool("antsibull-docs"), *words, f"--dest-dir={pages}", COLLECTION], env=env, cwd=pages
    )
    roles = {f"{path.name}_role.rst" for path in (bench.tree / "roles").iterdir()}
    if made and (missing := roles - {path.name for path in pages.glob("*.rst")}):
        bench.report.failed_check("pages of roles", f"missing: {', '.join(sorted(missing))}")


def _release(bench: Workbench, root: Path) -> None:
    """The version in galaxy.yml can be released at any time, by the one command that docs/development.md names."""
    tree = root / bench.tree.relative_to(bench.root)
    shutil.copytree(bench.tree, tree, symlinks=True)
    version = _VERSION.findall((tree / "galaxy.yml").read_text(encoding="utf-8"))[0]
    if f"\n  {version}:\n" in (tree / "changelogs/changelog.yaml").read_text(encoding="utf-8"):
        return
    # The tool asks git which files there are.
    bench.run(["git", "init", "--quiet"], cwd=tree)
    env = {"ANSIBLE_COLLECTIONS_PATH": f"{root}:{bench.collections}"}
    if bench.check("a release", [bench.tool("antsibull-changelog"), "release"], cwd=tree, env=env):
        heading = f"## v{version}".replace(".", r"\.")
        missing = heading not in (tree / "CHANGELOG.md").read_text(encoding="utf-8")
        bench.check(
            "the changelog of a release",
            # Only these: other tools have left files in the tree.
            [bench.tool("reuse"), "lint-file", "--lines", "CHANGELOG.md", "changelogs/changelog.yaml"],
            cwd=tree,
            complaint=lambda _: f"CHANGELOG.md lacks {heading}" if missing else "",
        )


def _unasked(output: str) -> str:
    return "\n".join(f"not asked for: {name}" for name in _OF_AN_EXECUTION_ENVIRONMENT if name not in output)


def _warnings(output: str) -> str:
    """The importer exits with 0 whatever it found, and lints without the collections that ours depends on."""
    found = (line for line in output.splitlines() if line.startswith(("WARNING", "ERROR")))
    return "\n".join(line for line in found if not _OF_A_DEPENDENCY.search(line))


def _unlisted(names: list[str], output: str) -> str:
    listed = json.loads(output[output.index("{") :]) if "{" in output else {}
    missing = [name for name in names if f"{COLLECTION}.{name}" not in listed]
    if not names:
        return "there is none"
    return f"not listed: {', '.join(missing)}" if missing else ""
