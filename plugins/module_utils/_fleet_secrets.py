# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection phoenix.hypervisor: can have breaking changes at any time.

# Secrets in clear text: a fleet's files are committed and copied around, so none may stand in them. What is found is
# never repeated in a message. No I/O.

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t
from collections.abc import Collection, Iterator, Mapping

from ansible_collections.phoenix.hypervisor.plugins.module_utils._fleet import Problem
from ansible_collections.phoenix.hypervisor.plugins.module_utils._schema import at
from ansible_collections.phoenix.hypervisor.plugins.module_utils._yaml_text import VAULT_REFERENCE

HIDDEN = "(hidden)"

_SECRET_WORDS = frozenset(
    ("password", "passwd", "passphrase", "secret", "token", "apikey", "credential", "credentials")
)
_SECRET_PAIRS = (("api", "key"), ("private", "key"), ("access", "key"), ("secret", "key"))
# What is shorter is part of ordinary words, and hides nothing.
_TELLING = 8
_NOTHING = ("", "NOT_SET")
_PLACES = ("file", "path", "dir")
_HASH = re.compile(r"\$(?:1|5|6|7|2[abxy]?|y|gy|sm3|md5|sha1)\$[^\s:]{8,}")
_URL = re.compile(r"https?://[^ ]+$")
_LOOKS_SECRET = re.compile(
    r"""(?x)
    \b(?: hf_[A-Za-z0-9]{20,}                      # Hugging Face
        | gh[opsu]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{16,}
        | dckr_pat_[\w-]{16,} | xox[abp]-[\w-]{10,}
        | sk-[A-Za-z0-9_-]{20,} | nvapi-[\w-]{20,}
        | AKIA[0-9A-Z]{16} )
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | PVEAPIToken=[^\s=]+=\S
    | ://[^/\s:@]+:(?!\{\{)[^/\s@]+@               # a URL with a password in it
    | (?i:--(?:[\w-]+-)?(?:password|token|secret|api-key))(?:=|\ +)(?!\{\{)[^\s{]
    | (?i:\bauthorization:\s*(?:bearer|basic)\s+)(?!\{\{)\S
    """
)


def clear_text(document: object, file: str, refused: Collection[str]) -> Iterator[tuple[Problem, str]]:
    """Every secret in a document, with its text, given the JSON paths of what the document's schema refuses."""
    for path, key, value in _values(document, "$", ""):
        wrong, ways = "a secret stands here in clear text", []
        if key == "password_hash":
            if not isinstance(value, str) or value in _NOTHING or _is_fit(value, _HASH):
                continue
            wrong = "this is no hash, so it may be the password itself"
            ways = ['Write "NOT_SET", or the hash as crypt makes it ($6$...).']
        elif not _is_secret(key, value):
            continue
        instead = " ".join([*ways, _way(document, path, key, value, refused)])
        yield Problem(file, path, HIDDEN, wrong, instead), str(value)


def without(problem: Problem, secrets: Collection[str]) -> Problem:
    """A problem that repeats no secret: a name that a message mentions can be one."""
    texts = [problem.wrong, problem.instead, problem.value]
    for secret in secrets:
        if len(secret) >= _TELLING:
            texts = [text.replace(secret, HIDDEN) if isinstance(text, str) else text for text in texts]
    return dataclasses.replace(problem, wrong=texts[0], instead=texts[1], value=texts[2])


def _is_fit(value: str, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.fullmatch(value) or VAULT_REFERENCE.fullmatch(value.strip()))


def _values(value: object, path: str, key: str) -> Iterator[tuple[str, str, object]]:
    """Every scalar with its path and the key that it belongs to."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _values(member, at(path, name), name)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            # On a command line the word before says what it is.
            before = value[index - 1] if index else None
            option = before.lstrip("-") if isinstance(before, str) and before.startswith("--") else key
            yield from _values(member, at(path, index), option)
    else:
        yield path, key, value


def _is_secret(key: str, value: object) -> bool:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return False
    text = str(value)
    if isinstance(value, str):
        if _LOOKS_SECRET.search(text):
            return True
        if text in _NOTHING or VAULT_REFERENCE.fullmatch(text.strip()):
            return False
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", key)]
    if not words or words[-1] in _PLACES:
        return False
    if not isinstance(value, str):
        # A limit such as max_token is a number; so can a password be, but nothing else that is secret.
        return bool({"password", "passwd"} & set(words))
    return bool(_SECRET_WORDS & set(words)) or any(pair in _SECRET_PAIRS for pair in itertools.pairwise(words))


def _way(document: object, path: str, key: str, value: object, refused: Collection[str]) -> str:
    variable = "vault_" + re.sub(r"\W+", "_", key).strip("_").lower()
    # Where the schema does not know the key, a reference to the vault would be refused next.
    gone = any(path == above or path.startswith((f"{above}.", f"{above}[")) for above in refused)
    then = "remove it here" if gone else f'write "{{{{ {variable} }}}}" in its place'
    if not gone and isinstance(value, str) and _URL.match(value):
        # A schema that asks for a URL takes neither a reference alone nor a blank.
        then = f'write "{{{{{variable}}}}}" in place of the password alone'
    encrypted = f"as `ansible-vault encrypt_string --name {variable}` prints it"
    return f"Put it into {_place(document, path)}/local.yml {encrypted}, and {then}."


def _place(document: object, path: str) -> str:
    """The folder of the variables of whatever the secret belongs to."""
    found = re.match(r"\$\.lxc_configs\.(\w+)", path)
    if found and isinstance(document, Mapping):
        container: t.Any = document["lxc_configs"][found[1]]
        name = container.get("name") if isinstance(container, Mapping) else None
        return f"host_vars/{name}" if isinstance(name, str) else "host_vars/<name>"
    return "group_vars/all"
