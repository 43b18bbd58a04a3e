# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GET /metrics, with the series that monitoring asks for."""

from __future__ import annotations

import time
from collections.abc import Mapping

_STARTED = time.time()


def render(model: str, running: int, totals: Mapping[str, int], requests: Mapping[tuple[str, str], int]) -> str:
    label = f'engine="0",model_name="{model}"'
    series = [
        ("vllm:num_requests_running", "gauge", label, float(running)),
        ("vllm:num_requests_waiting", "gauge", label, 0.0),
        ("vllm:kv_cache_usage_perc", "gauge", label, 0.0),
        ("vllm:engine_sleep_state", "gauge", f'{label},sleep_state="awake"', 1.0),
        ("vllm:prompt_tokens_total", "counter", label, float(totals["prompt"])),
        ("vllm:generation_tokens_total", "counter", label, float(totals["generation"])),
        ("vllm:request_success_total", "counter", f'{label},finished_reason="length"', float(totals["success"])),
        ("vllm:time_to_first_token_seconds_count", "histogram", label, float(totals["success"])),
        ("vllm:e2e_request_latency_seconds_count", "histogram", label, float(totals["success"])),
        ("vllm:cache_config_info", "gauge", f'block_size="16",cache_dtype="auto",{label}', 1.0),
        ("process_start_time_seconds", "gauge", "", _STARTED),
    ]
    lines = []
    for name, kind, labels, value in series:
        family = name.removesuffix("_count").removesuffix("_total")
        lines += [
            f"# HELP {family} {family}",
            f"# TYPE {family} {kind}",
            f"{name}{{{labels}}} {value}" if labels else f"{name} {value}",
        ]
    lines += ["# HELP http_requests_total Total number of requests", "# TYPE http_requests_total counter"]
    lines += [
        f'http_requests_total{{handler="{path}",method="{method}",status="2xx"}} {count}.0'
        for (method, path), count in sorted(requests.items())
    ]
    return "\n".join(lines) + "\n"
