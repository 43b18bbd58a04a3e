# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A stand-in for the API of AWX: as much of it as playbooks/awx.yml uses, with the refusals that AWX has for data that
# does not fit together.

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import pytest

TREE = Path(__file__).parents[3]
TOKEN = "a-token"

TEMPLATES = ("projects", "inventory_sources", "job_templates", "workflow_job_templates")
TYPES = {"organizations": "organization", "inventories": "inventory", "credentials": "credential"}
# What refers to an object, and to what.
REFERENCES = {
    "organization": ("organizations",),
    "credential_type": ("credential_types",),
    "project": ("projects",),
    "source_project": ("projects",),
    "inventory": ("inventories",),
    "execution_environment": ("execution_environments",),
    "workflow_job_template": ("workflow_job_templates",),
    "unified_job_template": (*TEMPLATES, "workflow_approval_templates"),
}
DEFAULTS = {
    "job_templates": {"survey_spec": {}, "credentials": []},
    "workflow_job_templates": {"survey_spec": {}},
    "workflow_job_template_nodes": {"success_nodes": [], "failure_nodes": [], "always_nodes": [], "extra_data": {}},
    "projects": {"scm_revision": "1"},
}
RRULE = re.compile(r"DTSTART:\d{8}T\d{6}Z RRULE:(?=.*FREQ=)(?=.*INTERVAL=)[A-Z0-9=;,]+")
Answer = tuple[int, Any]


class Refusal(Exception):
    pass


class Awx:
    """What is in AWX, by endpoint and id."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.objects: dict[str, dict[int, dict[str, Any]]] = {}
        self.writes: list[str] = []
        self._last = 0
        for endpoint, name in (
            ("organizations", "Default"), ("credential_types", "Machine"), ("credential_types", "Vault"),
        ):  # fmt: skip
            self._make(endpoint, {"name": name})

    def named(self, endpoint: str) -> dict[str, dict[str, Any]]:
        return {found.get("name") or found["identifier"]: found for found in self.objects.get(endpoint, {}).values()}

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        match path.strip("/").split("/"):
            case [endpoint] if method == "GET":
                return self._listing([found for found in self._all(endpoint) if self._fits(found, query)])
            case [endpoint] if method == "POST":
                self._check(endpoint, body)
                return HTTPStatus.CREATED, self._made(endpoint, body)
            case [endpoint, number]:
                return self._one(method, endpoint, self.objects[endpoint][int(number)], body)
            case [endpoint, number, part]:
                return self._part(method, self.objects[endpoint][int(number)], part, body)
        raise KeyError(path)

    def _one(self, method: str, endpoint: str, found: dict[str, Any], body: dict[str, Any]) -> Answer:
        if method == "PATCH":
            self._check(endpoint, {**found, **body})
            if any(found.get(key) != value for key, value in body.items()):
                self.writes.append(f"PATCH {found['url']}")
            found.update(body)
        return HTTPStatus.OK, found

    def _part(self, method: str, found: dict[str, Any], part: str, body: dict[str, Any]) -> Answer:
        if part == "create_approval_template":
            approval = self._made("workflow_approval_templates", body)
            found["unified_job_template"] = approval["id"]
            found["related"]["unified_job_template"] = approval["url"]
            return HTTPStatus.CREATED, approval
        if method == "GET":
            value = found[part]
            if part == "survey_spec":
                return HTTPStatus.OK, value
            endpoint = "workflow_job_template_nodes" if part.endswith("_nodes") else part
            return self._listing([self.objects[endpoint][number] for number in value])
        self.writes.append(f"POST {found['url']}{part}/")
        if part == "survey_spec":
            _check_survey(body)
            found[part] = body
            return HTTPStatus.OK, {}
        if body.get("disassociate"):
            found[part].remove(body["id"])
        else:
            found[part].append(body["id"])
        return HTTPStatus.NO_CONTENT, None

    def _made(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(f"POST {endpoint} {body.get('name') or body.get('identifier')}")
        return self._make(endpoint, body)

    def _make(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        url = f"/api/v2/{endpoint}/{self._last}/"
        made = {
            **json.loads(json.dumps(DEFAULTS.get(endpoint, {}))),
            **body,
            "id": self._last,
            "url": url,
            "type": TYPES.get(endpoint, endpoint.removesuffix("s")),
            "related": {"survey_spec": f"{url}survey_spec/"},
            "summary_fields": {},
        }
        self.objects.setdefault(endpoint, {})[self._last] = made
        return made

    def _all(self, endpoint: str) -> list[dict[str, Any]]:
        endpoints = TEMPLATES if endpoint == "unified_job_templates" else (endpoint,)
        return [found for name in endpoints for found in self.objects.get(name, {}).values()]

    @staticmethod
    def _fits(found: dict[str, Any], query: dict[str, str]) -> bool:
        return all(str(found.get(key)) == value for key, value in query.items())

    @staticmethod
    def _listing(found: list[dict[str, Any]]) -> Answer:
        return HTTPStatus.OK, {"count": len(found), "next": None, "results": found}

    def _check(self, endpoint: str, body: dict[str, Any]) -> None:
        for key, endpoints in REFERENCES.items():
            if body.get(key) and not any(body[key] in self.objects.get(name, {}) for name in endpoints):
                raise Refusal(f"{key}: there is no {body[key]}")
        if endpoint == "job_templates" and not (self.project / body["playbook"]).is_file():
            raise Refusal("Playbook not found for project.")
        if endpoint == "inventory_sources" and not (self.project / body["source_path"]).is_file():
            raise Refusal("Could not locate the inventory file")
        template = self.objects.get("job_templates", {}).get(body.get("unified_job_template") or 0, {})
        if endpoint == "workflow_job_template_nodes" and template:
            questions = {question["variable"] for question in template["survey_spec"].get("spec", [])}
            if set(body.get("extra_data") or {}) - questions:
                raise Refusal("Variables are not allowed on launch")
            if body.get("limit") and not template["ask_limit_on_launch"]:
                raise Refusal("Field is not configured to prompt on launch.")
        if endpoint == "schedules":
            if not RRULE.fullmatch(body["rrule"]):
                raise Refusal("Valid DTSTART, and INTERVAL, are required in rrule.")
            for question in template["survey_spec"].get("spec", []):
                if question["required"] and "default" not in question:
                    raise Refusal(f"'{question['variable']}' value missing")


def _check_survey(survey: dict[str, Any]) -> None:
    for question in survey["spec"]:
        if missing := {"question_name", "variable", "type", "required"} - set(question):
            raise Refusal(f"{sorted(missing)} missing from survey question")
        if question["type"] == "multiplechoice" and question.get("default") not in (None, *question["choices"]):
            raise Refusal("Default choice must be answered from the choices listed.")


class Handler(http.server.BaseHTTPRequestHandler):
    awx: ClassVar[Awx]

    def _serve(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}") if length else {}
        status: int
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, answer = HTTPStatus.UNAUTHORIZED, {}
            else:
                query = dict(urllib.parse.parse_qsl(address.query))
                status, answer = self.awx.answer(self.command, address.path.removeprefix("/api/v2/"), query, body)
        except KeyError as error:
            status, answer = HTTPStatus.NOT_FOUND, {"detail": f"Not found: {error}"}
        except Refusal as error:
            status, answer = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def awx() -> Iterator[tuple[Awx, str]]:
    """AWX with the checkout as its project's repository, and its address."""
    handler = type("Bound", (Handler,), {"awx": Awx(TREE)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield handler.awx, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
