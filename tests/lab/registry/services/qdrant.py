# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stub of Qdrant: health, and collections as far as a check creates and lists them. 6333 HTTP, 6334 gRPC (nothing "
"answers)."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

from .web import Answer, serve

VERSION = "1.15.4"
STORAGE = Path("/qdrant/storage")


def answer(method: str, path: str, body: bytes) -> Answer:
    plain = {"/healthz": "healthz check passed", "/livez": "livez check passed", "/readyz": "all shards are ready"}
    if method in {"GET", "HEAD"} and path in plain:
        return 200, plain[path], {}
    if (method, path) == ("GET", "/"):
        return 200, {"title": "qdrant - vector search engine", "version": VERSION, "commit": "stub"}, {}
    if (method, path) == ("GET", "/collections"):
        return _result({"collections": [{"name": name} for name in sorted(_collections())]})
    _, _, rest = path.partition("/collections/")
    if not rest or "/" in rest:
        return 404, None, {}
    file = STORAGE / "collections" / rest
    if method == "PUT":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(json.loads(body)))
        return _result(True)
    if method == "DELETE":
        file.unlink(missing_ok=True)
        return _result(True)
    if not file.is_file():
        return 404, {"status": {"error": f"Not found: Collection `{rest}` doesn't exist!"}, "time": 0.0}, {}
    return _result({"status": "green", "points_count": 0, "config": {"params": json.loads(file.read_text())}})


def _collections() -> list[str]:
    folder = STORAGE / "collections"
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []


def _result(value: object) -> Answer:
    return 200, {"result": value, "status": "ok", "time": round(time.monotonic() % 1e-3, 9)}, {}


def main() -> None:
    grpc = socket.create_server(("0.0.0.0", 6334))
    print(f"Version: {VERSION}, build: stub\nQdrant HTTP listening on 6333\nQdrant gRPC listening on 6334", flush=True)
    serve(answer, {6333: None})
    grpc.close()


if __name__ == "__main__":
    main()
