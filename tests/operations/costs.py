"""Writes docs/costs.md: what a deployment costs in a month, idle and with people.

    .venv/bin/python tests/operations/costs.py            (make costs)
    .venv/bin/python tests/operations/costs.py --check    fails if docs/costs.md is not what this writes

- The units of operations are those of docs/architecture/costs.md, which tests assert.
- The prices, with their sources and date, are in prices.json.
- How many metrics the alarms watch is read from template.yaml.
- What people do, and how long calls take, is assumed. The assumptions stand below, and in the page.
"""

import json
import pathlib
import re
import sys

from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/costs.md"
PRICES = json.loads((ROOT / "tests/operations/prices.json").read_text())
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())

MONTH_HOURS = 730
RUNS = MONTH_HOURS * 60  # of the worker
# Read units of a run without work: two looks at outbox, feed and consumers (7 each), 22 for pending changes and
# expiries, 9 for the metrics. Counted from the calls of `rollcall dev`.
RUN_READS = 45
RUN_SECONDS = 0.3
# A run of the probe: the units of its two requests (tests/budgets.rs), and the log of both functions.
PROBE_READS, PROBE_WRITES, PROBE_LOG, PROBE_SECONDS, PROBE_GB = 94, 8, 4_500, 0.2, 0.125
# Each of the functions has the key of the table decrypted every five minutes while it is busy.
KEY_CALLS = MONTH_HOURS * 12
# Bytes of log: Lambda's own lines and the metrics of a run; of a request all lines of function, authorizer and gateway.
RUN_LOG = 1_700
REQUEST_LOG = 4_500
REQUEST_SECONDS = 0.05
AUTHORIZER_SECONDS = 0.01
# A change of the feed: a run of the worker that the stream starts, and what it writes (a change that comes alone).
CHANGE_READS, CHANGE_WRITES = 14, 4
RETENTION_MONTHS = 3  # of logs and of the feed
USER_KB, MEMBERSHIP_KB, CHANGE_KB = 1.7, 0.2, 0.6
MEMBERSHIPS = 5

# For each person and month.
CHANGES, MEMBERS_ADDED, MEMBERS_REMOVED, JOINERS, LEAVERS = 1.0, 0.5, 0.5, 0.02, 0.02
PEOPLE = [1_000, 10_000, 100_000]

IDLE_LIMIT = 5.0


def price(name, amount=1.0):
    entry = PRICES["prices"][name]
    return amount * entry["usd"] / entry["per"]


def units():
    """Read and write units by operation, from docs/architecture/costs.md."""
    rows = {}
    for line in (ROOT / "docs/architecture/costs.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4:
            rows[cells[0]] = [[float(n) for n in re.findall(r"\d+(?:\.\d+)?", cell)] for cell in cells[2:]]

    def of(start, which=0):
        (row,) = [row for name, row in rows.items() if name.startswith(start)]
        return tuple(numbers[min(which, len(numbers) - 1)] if numbers else 0.0 for numbers in row)

    return {
        "get": of("GET a user"),
        "look up": of("filter by userName"),
        "create": of("POST a user"),
        "change": of("PUT or PATCH a user"),
        "deactivate": of("deactivate a user"),
        "add member": of("add · remove one member", 0),
        "remove member": of("add · remove one member", 1),
        "is member": of("is this user in this group"),
        "page": of("page of 100 users", 2),
    }


def alarm_metrics():
    """How many metrics the alarms watch, at most. A query watches none while its metric has no value."""
    count = 0
    for resource in TEMPLATE["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm" and resource.get("Condition") != "HasProbeAlarm":
            properties = resource["Properties"]
            queries = properties.get("Metrics", [])
            count += sum("MetricStat" in query for query in queries) if queries else 1
    return count


def memory(parameter):
    return TEMPLATE["Parameters"][parameter]["Default"] / 1024


def logs(size):
    gb = size / 1e9
    return price("log_gb", gb) + price("log_kept_gb", gb * RETENTION_MONTHS)


def probe():
    calls = price("lambda_call", 3 * RUNS) + price("lambda_gb_second", RUNS * PROBE_SECONDS * PROBE_GB)
    calls += price("lambda_gb_second", 2 * RUNS * REQUEST_SECONDS * memory("ScimMemorySize"))
    return calls + price("read_unit", RUNS * PROBE_READS) + price("write_unit", RUNS * PROBE_WRITES) + logs(RUNS * PROBE_LOG)


def idle():
    """Part, what it is, USD, and the parameter that makes it (empty: always there)."""
    worker = price("lambda_call", RUNS) + price("lambda_gb_second", RUNS * RUN_SECONDS * memory("WorkerMemorySize"))
    return [
        ("worker", f"{RUNS:,} calls, {RUN_SECONDS} s each", worker, ""),
        ("table, read by the worker", f"{RUN_READS} units a run", price("read_unit", RUNS * RUN_READS), ""),
        ("log of the worker", f"{RUN_LOG / 1000} KB a run", logs(RUNS * RUN_LOG), ""),
        ("metrics of the worker", "`FeedLagSeconds`, `OldestPendingChangeSeconds`; `ExpiringKeys` for an hour a day",
         price("metric", 2 + 1 / 24), ""),
        ("table, storage and point-in-time recovery", "0.01 GB", price("table_gb", 0.01) + price("recovery_gb", 0.01), ""),
        ("key of the table, of AWS", f"{KEY_CALLS:,} calls", price("key_call", KEY_CALLS), ""),
        ("stream, bus, schedule, APIs, roles", "nothing without use", 0.0, ""),
        ("metric of the bus", "`BusLagSeconds`", price("metric"), "`MakeEventBus` (on)"),
        ("metrics of webhooks", "`WebhookLagSeconds`, `DisabledWebhooks`, if there is a webhook", price("metric", 2), "a webhook"),
        ("alarms", f"{alarm_metrics()} metrics", price("alarm_metric", alarm_metrics()), "`AlarmTopic`"),
        ("probe", f"{RUNS:,} runs of two requests, {PROBE_READS} read and {PROBE_WRITES} write units each", probe(), "`Probe`"),
        ("alarm of the probe", "1 metric", price("alarm_metric"), "`Probe` and `AlarmTopic`"),
        ("dashboard", "nothing, if it is one of the account's first three", price("dashboard"), "`MakeDashboard`"),
        ("customer key", "and its calls", price("key"), "`KmsKeyArn`"),
        ("firewall", "a web ACL and a rule", price("firewall"), "`AddressRateLimit`"),
    ]


# What an event of a person causes. Each item: operation, how often for each person and month.
def events(way):
    before = [("look up", 1.0)] if way == "hourly" else [("get", 1.0)]
    member_check = [("is member", 1.0)] if way == "hourly" else []
    found = []
    for rate, requests in [
        (CHANGES, [*before, ("change", 1.0)]),
        (MEMBERS_ADDED, [*member_check, ("add member", 1.0)]),
        (MEMBERS_REMOVED, [*member_check, ("remove member", 1.0)]),
        (JOINERS, [("look up", 1.0), ("create", 1.0), ("add member", float(MEMBERSHIPS))]),
        (LEAVERS, [*before, ("deactivate", 1.0)]),
    ]:
        found += [(operation, rate * times) for operation, times in requests]
    return found


WAYS = {
    "as they come": "The identity provider sends each change at once (Okta): GET, then PUT. Traffic in a third of all hours.",
    "hourly": "It sends the changes of each 40 minutes (Entra ID): a look-up before each change, and one request in each cycle.",
    "daily": "It reads all users once a day, 100 a page, and then sends the changes. Traffic in two hours a day.",
}
# The share of hours with traffic, and the series that have values then: requests by class and status, and latency and
# units by class.
TRAFFIC = {"as they come": (1 / 3, 4 + 3 * 3), "hourly": (1.0, 4 + 3 * 3), "daily": (2 / 24, 4 + 3 * 3)}


def monthly(people, way, unit):
    plan = [(operation, people * times) for operation, times in events(way)]
    if way == "hourly":
        plan.append(("look up", MONTH_HOURS * 60 / 40))
    if way == "daily":
        plan.append(("page", 30.4 * people / 100))
    requests = sum(times for _, times in plan)
    changes = people * (CHANGES + MEMBERS_ADDED + MEMBERS_REMOVED + JOINERS * (1 + MEMBERSHIPS) + LEAVERS)
    reads = sum(unit[operation][0] * times for operation, times in plan) + 2 * requests + CHANGE_READS * changes
    writes = sum(unit[operation][1] * times for operation, times in plan) + CHANGE_WRITES * changes
    gb = (people * (USER_KB + MEMBERSHIPS * MEMBERSHIP_KB) + changes * RETENTION_MONTHS * CHANGE_KB) / 1e6
    seconds = (REQUEST_SECONDS * memory("ScimMemorySize") + AUTHORIZER_SECONDS * memory("AuthorizerMemorySize")) * requests
    seconds += RUN_SECONDS * memory("WorkerMemorySize") * changes
    share, series = TRAFFIC[way]
    return {
        "requests": requests,
        "gateway": price("api_request", requests),
        "functions": price("lambda_call", 2 * requests + changes) + price("lambda_gb_second", seconds),
        "table": price("read_unit", reads) + price("write_unit", writes),
        "storage": price("table_gb", gb) + price("recovery_gb", gb),
        "logs": logs(requests * REQUEST_LOG + changes * RUN_LOG),
        "metrics": price("metric", share * series),
        "bus": price("bus_event", changes),
    }


def usd(amount):
    if 0 < amount < 0.005:
        return "0.00"
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


def page():
    unit, parts = units(), idle()
    always = sum(cost for _, _, cost, on in parts if not on)
    defaults = always + sum(cost for _, _, cost, on in parts if on.endswith("(on)"))
    alarms = sum(cost for _, _, cost, on in parts if on == "`AlarmTopic`")
    out = f"""# What it costs

`make costs` writes this page. The prices are list prices of {PRICES['region']} in USD, read on {PRICES['read']}, without free
tiers and taxes ([their sources](#prices)). The units of operations are [counted](architecture/costs.md). What is assumed says so.
Nothing here was measured on AWS: compare it with your bill.

## An idle deployment, a month

| part | | USD | made by |
| --- | --- | --- | --- |
"""
    for name, what, cost, on in parts:
        out += f"| {name} | {what} | {usd(cost)} | {on or 'always there'} |\n"
    out += f"""
| together | USD |
| --- | --- |
| with the default parameters | **{usd(defaults)}** |
| with alarms (`AlarmTopic`) | **{usd(defaults + alarms)}** |
| the least (`MakeEventBus=false`) | **{usd(always)}** |

- AWS gives every account 10 custom metrics, 10 metrics of alarms, 3 dashboards, 5 GB of logs, and a million calls of
  Lambda a month for nothing. So a first small stack pays less than that.
- Alarms exist only with `AlarmTopic`: an alarm costs the same whether it tells anybody or not.
- `PanicsAlarm` is a query. It watches no metric, and so costs nothing, until there was a panic.
- The worker reads the table's stream for nothing. An EventBridge pipe in its place would cost about 8 USD a month.
- A lower `LogRetentionDays` saves little: taking a line costs 17 times as much as keeping it for a month.

## With people, a month, on top

"""
    for way, text in WAYS.items():
        out += f"- **{way}**: {text}\n"
    out += f"""
For each person and month: {CHANGES:g} change of the user, {MEMBERS_ADDED:g} memberships added and {MEMBERS_REMOVED:g} removed,
{JOINERS:.0%} joiners with {MEMBERSHIPS} groups, and {LEAVERS:.0%} leavers (assumed). A request takes {REQUEST_SECONDS * 1000:g} ms
and {REQUEST_LOG / 1000} KB of logs, and each one calls the authorizer: that is more than the truth (assumed). Each change
goes to the feed and the bus.

| people | how | requests | gateway | functions | table | storage | logs | metrics | bus | **together** |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
    for people in PEOPLE:
        for way in WAYS:
            cost = monthly(people, way, unit)
            requests = cost.pop("requests")
            cells = " | ".join(usd(value) for value in cost.values())
            out += f"| {people:,} | {way} | {requests:,.0f} | {cells} | **{usd(sum(cost.values()))}** |\n"
    loading = unit["look up"], unit["create"]
    first = price("api_request", 2) + price("lambda_call", 5)
    first += price("read_unit", loading[0][0] + loading[1][0] + CHANGE_READS)
    first += price("write_unit", loading[0][1] + loading[1][1] + CHANGE_WRITES) + logs(2 * REQUEST_LOG + RUN_LOG)
    out += f"""
- **Metrics of requests** are the largest part for a small company. `RequestMetrics=false` switches them off: the column is 0
  then, and no alarm is lost. A series costs 0.30 USD a month, by the hours in which it
  has a value. There is one for each class and status class (`Requests`), and three for each class (`Latency`, `ReadUnits`,
  `WriteUnits`). Assumed are {TRAFFIC['hourly'][1]} series: three classes, and four pairs of class and status. They do not grow with
  tenants or people: a tenant is no dimension. All classes and statuses together would be 49 series, 14.70 USD.
- A first import costs {usd(first * 1_000_000)} USD for a million people: a look-up and a POST each.
- The application's side costs as much for each request. A product that follows the feed with a request a second sends 2.6
  million a month: {usd(price('api_request', 2.628e6) + price('lambda_call', 2.628e6) + logs(2.628e6 * REQUEST_LOG))} USD. Every ten seconds, it is a tenth. A webhook costs no request.
- Traces (`TracingRate`): {usd(price('trace', 1_000_000))} USD for a million. A firewall: {usd(price('firewall_request', 1_000_000))} USD for a million requests.

## What a mistake can cost

| | limited by | USD a day at the limit |
| --- | --- | --- |
| a tenant that sends at its full rate all day | `TenantRateLimit` | {usd(price('api_request', 3.3333 * 86400) + price('lambda_call', 2 * 3.3333 * 86400) + price('write_unit', 4 * 3.3333 * 86400) + logs(3.3333 * 86400 * REQUEST_LOG))} |
| strangers who send wrong keys | `StageRateLimit` + `ReadRateLimit`, `AddressRateLimit` | {usd(price('lambda_call', 1500 * 86400) + price('lambda_gb_second', 1500 * 86400 * AUTHORIZER_SECONDS * memory('AuthorizerMemorySize')) + price('read_unit', 1500 * 86400) + logs(1500 * 86400 * 2_500))} |
| writes of everybody | `MaxWriteUnits`, such as 100 | {usd(price('write_unit', 100 * 86400))} |

API Gateway charges no request that its authorizer refuses. Logs are most of the cost of strangers: `AccessLogs=false` lowers it.

## Prices

{PRICES['note']}

| | USD | seen in | AWS's page |
| --- | --- | --- | --- |
"""
    for entry in PRICES["prices"].values():
        per = {1: "", 10_000: " for 10,000", 1_000_000: " a million"}[entry["per"]]
        amount = f"{entry['usd']:.10f}".rstrip("0") if entry["usd"] < 0.01 else f"{entry['usd']:g}"
        out += f"| {entry['what']} | {amount}{per} | {entry['seen']} | <{entry['source']}> |\n"
    return out, defaults + alarms


if __name__ == "__main__":
    text, idle_cost = page()
    if idle_cost >= IDLE_LIMIT:
        sys.exit(f"an idle deployment with alarms costs {idle_cost:.2f} USD a month, {IDLE_LIMIT} or more")
    if sys.argv[1:] == ["--check"]:
        if PAGE.read_text() != text:
            sys.exit("docs/costs.md is not what units, prices and the template make: run `make costs`")
    else:
        PAGE.write_text(text)
        print(f"docs/costs.md: an idle deployment costs {idle_cost:.2f} USD a month, alarms included")
