# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The web server of the lab: every vendor's files under the vendor's own name, by http and by https, the registry behind
# docker.io's names, and the machine's Debian mirror as mirror.lab.

from __future__ import annotations

from .names import FILE_HOSTS, MIRROR, REGISTRY_HOSTS

AUTHORITY = "/srv/authority"
FILES = "/srv/vendors"
LOGS = "/var/log/phoenix-lab"
REGISTRY = "http://127.0.0.1:5000"
MIRROR_SOCKET = "http://unix:/run/phoenix-lab/mirror.sock:"

_LISTEN = """
        listen 80;
        listen 443 ssl;"""

CONFIGURATION = f"""\
user www-data;
worker_processes 1;
pid /run/phoenix-lab-nginx.pid;
error_log {LOGS}/nginx-error.log;

events {{
    worker_connections 512;
}}

http {{
    # Only what is asked for by name: an unknown name gets no answer that could pass for a vendor's.
    log_format lab '$time_iso8601 $host $request_method $request_uri $status $body_bytes_sent';
    access_log {LOGS}/nginx-access.log lab;
    default_type application/octet-stream;
    types {{
        text/plain list pub pin sha256sum;
        text/html html;
        application/x-debian-package deb;
    }}
    sendfile on;
    etag on;
    server_tokens off;
    server_names_hash_bucket_size 128;
    client_max_body_size 0;
    ssl_certificate {AUTHORITY}/server.pem;
    ssl_certificate_key {AUTHORITY}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;

    server {{
        listen 80 default_server;
        listen 443 ssl default_server;
        return 421;
    }}

    server {{{_LISTEN}
        server_name {" ".join(FILE_HOSTS)};
        root {FILES}/$host;
        autoindex on;
        disable_symlinks off;
    }}

    server {{{_LISTEN}
        server_name {" ".join(REGISTRY_HOSTS)};
        location / {{
            proxy_pass {REGISTRY};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 900;
        }}
    }}

    server {{{_LISTEN}
        server_name {MIRROR};
        location / {{
            proxy_pass {MIRROR_SOCKET};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_buffering off;
            proxy_read_timeout 300;
        }}
    }}
}}
"""
