# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.phoenix.hypervisor.plugins.module_utils._errors import Code, PhoenixError
from ansible_collections.phoenix.hypervisor.plugins.module_utils._firewall import (
    FirewallFile,
    Names,
    Rule,
    checked_rules,
    known_protocols,
)
from hypothesis import given
from hypothesis import strategies as st

QDRANT = Rule("in", "ACCEPT", source="10.0.0.0/24", proto="tcp", port="6333", comment="Qdrant")
QDRANT_LINE = "IN ACCEPT -source 10.0.0.0/24 -p tcp -dport 6333 # phoenix: Qdrant"
OUT = Rule("out", "REJECT", dest="+dc/guests")
OUT_LINE = "OUT REJECT -dest +dc/guests # phoenix:"

# As the web interface leaves it, with what people write by hand.
RICH = """\
# for the qdrant container

[OPTIONS]

policy_in: DROP
log_level_in: info

[ALIASES]

office 10.0.0.0/24 # the desks
six fd00::/64

[IPSET admins] # who may

10.0.0.5
!10.0.0.6

[RULES]

#TYPE ACTION
IN SSH(ACCEPT) -i net0 -source office # from the desks
|IN DROP -p udp # off # phoenix: not ours
GROUP web -i net0

"""

NAMES = Names(
    FirewallFile.parse(RICH.encode()),
    FirewallFile.parse(b"[OPTIONS]\nenable: 1\n[ALIASES]\nLan 10.0.0.0/8\n[group web]\nIN ACCEPT\n[ipset guests]\n"),
    known_protocols("# names\nip\t0\tIP\ntcp\t6\tTCP\nudp 17 UDP\nicmp 1 ICMP\nipv6-icmp 58 IPv6-ICMP\n"),
)

rules = st.builds(
    Rule,
    type=st.sampled_from(["in", "out"]),
    action=st.sampled_from(["ACCEPT", "DROP", "REJECT"]),
    source=st.sampled_from(["", "10.0.0.0/24"]),
    proto=st.just("tcp"),
    port=st.sampled_from(["", "22", "80,443"]),
    comment=st.sampled_from(["", "why", "a # in it", "für alle"]),
)
lines = st.one_of(
    st.sampled_from(RICH.splitlines()),
    st.sampled_from(["[rules]", "[options]", "enable: 0", " enable: 1 ", "IN DROP # phoenix: old", "|IN DROP", "[x]"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12),
)
files = st.builds(lambda found, end: "\n".join(found) + end, st.lists(lines), st.sampled_from(["", "\n", "\n\n"]))


def edited(text: str, *wanted: Rule, enabled: bool = False) -> str:
    return FirewallFile.parse(text.encode()).with_enabled(enabled).with_rules(wanted).render().decode()


def others(file: FirewallFile) -> list[str]:
    """What is neither a rule of ours nor the option that we own."""
    found = [line for line in file.lines if not line.own]
    return [line.text for line in found if not (line.section == "options" and line.text.strip().startswith("enable:"))]


@given(st.binary())
def test_every_file_comes_back_as_it_was(data: bytes) -> None:
    assert FirewallFile.parse(data).render() == data


@given(files, st.lists(rules, max_size=4), st.booleans())
def test_what_was_written_is_read_back_and_a_second_time_changes_nothing(
    text: str, wanted: list[Rule], enabled: bool
) -> None:
    after = FirewallFile.parse(edited(text, *wanted, enabled=enabled).encode())
    assert after.enabled == enabled
    assert after.own_rules == tuple(rule.line for rule in wanted)
    assert after.with_enabled(enabled).with_rules(wanted).render() == after.render()


@given(files, st.lists(rules, max_size=4), st.booleans())
def test_nothing_of_others_is_lost_or_moved(text: str, wanted: list[Rule], enabled: bool) -> None:
    before = FirewallFile.parse(text.encode())
    after = FirewallFile.parse(edited(text, *wanted, enabled=enabled).encode())
    kept = iter(others(after))
    assert all(line in kept for line in others(before) if line)


@given(files, st.lists(rules, min_size=1, max_size=4))
def test_taking_the_rules_away_leaves_the_file_as_before(text: str, wanted: list[Rule]) -> None:
    without = FirewallFile.parse(edited(f"{text}\n[RULES]\nIN DROP\n").encode())
    after = without.with_rules(wanted).with_rules([]).render()
    assert after == without.with_rules([]).render()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        pytest.param("", f"[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n{QDRANT_LINE}\n", id="no file"),
        pytest.param("# mine\n", f"# mine\n\n[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n{QDRANT_LINE}\n", id="comments only"),
        pytest.param(
            RICH,
            RICH.replace("policy_in", "enable: 1\npolicy_in").replace("#TYPE", f"{QDRANT_LINE}\n#TYPE"),
            id="before the rules of others",
        ),
        pytest.param(
            "[RULES]\nIN DROP\n",
            f"[OPTIONS]\n\nenable: 1\n\n[RULES]\n{QDRANT_LINE}\nIN DROP\n",
            id="options come first",
        ),
        pytest.param(
            "[OPTIONS]\nenable: 1\n[RULES]", f"[OPTIONS]\nenable: 1\n[RULES]\n{QDRANT_LINE}\n", id="no line feed"
        ),
        pytest.param(
            "[OPTIONS]\nenable: 1\n[RULES]\n", f"[OPTIONS]\nenable: 1\n[RULES]\n{QDRANT_LINE}\n", id="empty section"
        ),
        pytest.param(
            (
                "[OPTIONS]\nenable: 0\nenable: 0\n[RULES]\nIN DROP\nIN ACCEPT # phoenix: old\nIN "
                "REJECT\nOUT DROP # phoenix:\n"
            ),
            f"[OPTIONS]\nenable: 0\nenable: 1\n[RULES]\nIN DROP\n{QDRANT_LINE}\nIN REJECT\n",
            id="where the first of ours stood",
        ),
        pytest.param(
            f"[options]\nenable: 1\n[rules]\nIN DROP\n |{QDRANT_LINE} \n",
            f"[options]\nenable: 1\n[rules]\nIN DROP\n{QDRANT_LINE}\n",
            id="switched off by hand",
        ),
        pytest.param(
            "[RULES]\nIN DROP\n[OPTIONS]", f"[RULES]\n{QDRANT_LINE}\nIN DROP\n[OPTIONS]\nenable: 1\n", id="order"
        ),
    ],
)
def test_edits(text: str, after: str) -> None:
    assert edited(text, QDRANT, enabled=True) == after
    assert edited(after, QDRANT, enabled=True) == after


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"[OPTIONS]\nenable: 1\n[RULES]\nIN DROP\n{QDRANT_LINE}\nIN DROP\n {OUT_LINE}\t\n", id="moved"),
        pytest.param(f"[OPTIONS]\nENABLE:1 \n[RULES]\n{QDRANT_LINE}\n[RULES]\n{OUT_LINE}", id="two sections"),
    ],
)
def test_what_is_there_in_its_order_stays_where_it_is(text: str) -> None:
    assert edited(text, QDRANT, OUT, enabled=True) == text


def test_another_order_is_put_right() -> None:
    text = f"[RULES]\n{OUT_LINE}\nIN DROP\n{QDRANT_LINE}\n"
    assert edited(text, QDRANT, OUT) == f"[RULES]\n{QDRANT_LINE}\n{OUT_LINE}\nIN DROP\n"


def test_nothing_is_written_where_nothing_is_asked_for() -> None:
    assert edited("") == ""
    assert edited(RICH) == RICH


@pytest.mark.parametrize(
    ("text", "container", "datacenter"),
    [
        pytest.param("", False, False, id="no file"),
        pytest.param("enable: 1\n", False, False, id="no section"),
        pytest.param("[OPTIONS]\n#enable: 1\n", False, False, id="comment"),
        pytest.param("[OPTIONS]\nenable: 1\n", True, True, id="on"),
        pytest.param("[OPTIONS]\nenable: 1\nenable: 0\n", False, False, id="the last counts"),
        pytest.param("[OPTIONS]\nenable: 1763\n", False, True, id="a time, as PVE writes it for the datacenter"),
        pytest.param("[OPTIONS]\nenable: 1 # on\n", False, False, id="no comment behind it"),
        pytest.param("[RULES]\nenable: 1\n", False, False, id="another section"),
    ],
)
def test_enabled(text: str, container: bool, datacenter: bool) -> None:
    file = FirewallFile.parse(text.encode())
    assert (file.enabled, file.datacenter_enabled) == (container, datacenter)


def test_names() -> None:
    file = FirewallFile.parse(RICH.encode())
    assert file.aliases == {"office": 4, "six": 6}
    assert file.ipsets == {"admins"}
    assert FirewallFile.parse(b"[ALIASES]\nodd thing\nalone\n").aliases == {"odd": 0}


@pytest.mark.parametrize(
    "given_rule",
    [
        {"source": "10.0.0.5"},
        {"source": "10.0.0.0/24", "dest": "10.1.0.0/16"},
        {"source": "10.0.0.1,10.0.0.2,10.1.0.0/16"},
        {"source": "10.0.0.1-10.0.0.9"},
        {"source": "fd00::/64", "proto": "ipv6-icmp"},
        {"source": "office"},
        {"source": "guest/Office"},
        {"source": "dc/lan"},
        {"source": "LAN", "dest": "+admins"},
        {"source": "+dc/guests"},
        {"source": "+guest/admins"},
        {"source": "+sdn/vnet0-all"},
        {"proto": "6", "port": "22"},
        {"proto": "udp", "port": "0,65535,8000:8010"},
        {"proto": "tcp", "port": "1,2,3,4,5,6,7,8,9,10,11,12,13,14:15"},
        {"proto": "icmp"},
        {"comment": "für die # 7"},
        {"source": None, "comment": ""},
    ],
    ids=str,
)
def test_rules_that_pve_takes(given_rule: dict[str, str | None]) -> None:
    (rule,) = checked_rules([{"type": "in", "action": "ACCEPT", **given_rule}], NAMES)
    assert rule == Rule("in", "ACCEPT", **{key: value for key, value in given_rule.items() if value})


@pytest.mark.parametrize(
    ("given_rule", "message"),
    [
        ({"type": "forward"}, "rules[0].type: 'forward' is no direction. Write in or out."),
        ({"action": "accept"}, "rules[0].action: 'accept' is no action. Write ACCEPT, DROP or REJECT."),
        (
            {"proto": "tpc"},
            "rules[0].proto: 'tpc' is no protocol that the node knows. Write a name of its /etc/protocols.",
        ),
        (
            {"port": "22"},
            "rules[0].port: '22' needs a protocol that has ports, not ''. Set rules[0].proto to tcp.",
        ),
        (
            {"proto": "icmp", "port": "8"},
            "rules[0].port: '8' needs a protocol that has ports, not 'icmp'. Set rules[0].proto to tcp.",
        ),
        (
            {"proto": "tcp", "port": "80,,443"},
            (
                "rules[0].port: '80,,443' is no list of ports. Write ports from 0 to 65535 and ranges as "
                "in 6333,8000:8010."
            ),
        ),
        (
            {"proto": "tcp", "port": "65536"},
            "rules[0].port: '65536' is no list of ports. Write ports from 0 to 65535 and ranges as in 6333,8000:8010.",
        ),
        (
            {"proto": "tcp", "port": "8010:8000"},
            "rules[0].port: '8010:8000' has a range that runs backwards. Write 8000:8010.",
        ),
        (
            {"proto": "tcp", "port": "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16"},
            (
                "rules[0].port: '1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16' has more than 15 numbers, where "
                "a range counts as "
                "two. Write several rules."
            ),
        ),
        (
            {"source": "10.0.0.300"},
            (
                "rules[0].source: '10.0.0.300' is no address, network, range, alias or IP set. Write "
                "10.0.0.5, 10.0.0.0/24, "
                "10.0.0.10-10.0.0.20, a list of addresses, an alias, or +SET."
            ),
        ),
        (
            {"dest": "10.0.0.5/24"},
            (
                "rules[0].dest: '10.0.0.5/24' names a host inside a network, and PVE leaves such a rule "
                "out. Write 10.0.0.0/24 "
                "or the address."
            ),
        ),
        (
            {"source": "10.0.0.1-10.0.0"},
            "rules[0].source: '10.0.0.1-10.0.0' is no range of addresses. Write it as in 10.0.0.10-10.0.0.20.",
        ),
        (
            {"source": "10.0.0.0/24-10.0.1.0/24"},
            "rules[0].source: '10.0.0.0/24-10.0.1.0/24' is no range of addresses. Write it as in 10.0.0.10-10.0.0.20.",
        ),
        (
            {"source": "10.0.0.9-10.0.0.1"},
            "rules[0].source: '10.0.0.9-10.0.0.1' runs backwards. Write 10.0.0.1-10.0.0.9.",
        ),
        (
            {"source": "10.0.0.1-10.0.0.2,10.0.0.4"},
            "rules[0].source: '10.0.0.1-10.0.0.2,10.0.0.4' has a range in a list. Write one rule for each range.",
        ),
        (
            {"source": "10.0.0.1,fd00::1"},
            "rules[0].source: '10.0.0.1,fd00::1' mixes IPv4 and IPv6. Write one rule for each.",
        ),
        (
            {"source": "office", "dest": "six"},
            (
                "rules[0].source and rules[0].dest: 'IN ACCEPT -source office -dest six # phoenix:' mix "
                "IPv4 and IPv6. Write "
                "one rule for each."
            ),
        ),
        (
            {"source": "nobody"},
            (
                "rules[0].source: 'nobody' is neither an address nor an alias. Make the alias in the datacenter's or "
                "the container's firewall, or write an address."
            ),
        ),
        (
            {"source": "dc/office"},
            (
                "rules[0].source: 'dc/office' is neither an address nor an alias. Make the alias in the "
                "datacenter's or the "
                "container's firewall, or write an address."
            ),
        ),
        (
            {"source": "+dc/admins"},
            (
                "rules[0].source: '+dc/admins' is no IP set. Make it in the datacenter's or the container's firewall, "
                "or write addresses."
            ),
        ),
        (
            {"comment": "two\nlines"},
            "rules[0].comment: 'two\\nlines' does not fit on one line. Leave line breaks and blanks at its ends out.",
        ),
        (
            {"comment": "blank "},
            "rules[0].comment: 'blank ' does not fit on one line. Leave line breaks and blanks at its ends out.",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_rules_that_are_refused(given_rule: dict[str, str], message: str) -> None:
    with pytest.raises(PhoenixError) as refused:
        checked_rules([{"type": "in", "action": "ACCEPT", **given_rule}], NAMES)
    assert (str(refused.value), refused.value.code) == (message, Code.INPUT)


@pytest.mark.parametrize(
    "source", ["fe80::1%eth0", "10.0.0.0/255.255.255.0", "10.0.0.0/", "10.0.0.0/33", "", " ", "a b"]
)
def test_texts_that_are_no_address(source: str) -> None:
    if not source:
        assert checked_rules([{"type": "in", "action": "DROP", "source": source}], NAMES) == (Rule("in", "DROP"),)
        return
    with pytest.raises(PhoenixError, match=r"rules\[0\]\.source"):
        checked_rules([{"type": "in", "action": "DROP", "source": source}], NAMES)


def test_without_the_file_of_protocols_every_protocol_is_taken() -> None:
    names = Names(NAMES.container, NAMES.datacenter)
    assert checked_rules([{"type": "in", "action": "DROP", "proto": "gre"}], names) == (
        Rule("in", "DROP", proto="gre"),
    )
