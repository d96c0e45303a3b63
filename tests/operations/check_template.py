"""Checks what template.yaml, the code and the docs say of one another.

    .venv/bin/python tests/operations/check_template.py          (make lint-template)

- Each alarm has a section in docs/runbook.md, and each section of an alarm has its alarm.
- Each metric of an alarm or of the dashboard exists: in the code, in AWS's list, or as a filter of a log.
- Log queries in the runbook use fields that lines have.
- The description of each function's version names what the function takes from parameters, and nothing else.
- The access logs have variables that can hold neither a key nor a value of an attribute.
- Each parameter stands in a group, and in docs/deploy.md.
- The rates of the stage are what the plans promise.
- Links between the pages of docs/ lead to headings that exist.
- SAM understands the template, and cfn-lint what SAM makes of it: with the defaults, with everything switched off, and with
  everything switched on.
"""

import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "template.yaml").read_text()
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
DEPLOY = (ROOT / "docs/deploy.md").read_text()
METRICS = json.loads((ROOT / "tests/operations/metrics.json").read_text())
PARTS = ["**What it means.**", "**How to look.**", "**What to do.**"]
# Variables of an access log that can hold no key and no value of an attribute. There is none for a query, a header or
# a body. `path` is left out, because it holds ids. `identity.apiKey` is a usage key.
SAFE_VARIABLES = {
    "requestId", "extendedRequestId", "integration.requestId", "xrayTraceId", "identity.sourceIp",
    "authorizer.principalId", "authorizer.status", "authorizer.latency", "authorizer.error", "httpMethod",
    "resourcePath", "stage", "status", "protocol", "error.responseType", "waf.status", "responseLength",
    "responseLatency", "integrationLatency", "integration.status", "requestTimeEpoch",
}
# What CloudWatch and Lambda's own lines have (type platform.report and others).
PLATFORM_FIELDS = {
    "@timestamp", "@message", "@log", "type", "record.status", "record.metrics.durationMs",
    "record.metrics.initDurationMs", "record.metrics.maxMemoryUsedMB",
}
QUERY_WORDS = set(
    "fields filter stats sort limit by desc asc count sum avg min max pct bin as and or not like in ispresent m h s".split()
)
# How the description of a version says what depends on a condition, if not with the parameter's name.
# The alarm on the metric that the worker writes every minute: without it, the worker does not run.
ALWAYS_MEASURED = "FeedLagAlarm"
SAID_AS = {"TableName": "table", "TracingRate": "tracing", "StageName": "app", "AppDomainName": "app"}
# Properties of a function that are no part of a version.
NOT_OF_VERSION = {"VersionDescription", "DeploymentPreference", "ReservedConcurrentExecutions", "Events", "Role",
                  "EventInvokeConfig", "AutoPublishAlias", "CodeUri", "LoggingConfig"}

template = yaml_parse(TEMPLATE)
resources, parameters, conditions = template["Resources"], template["Parameters"], template["Conditions"]
problems = []


def of_type(kind):
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}


def source_of_functions():
    folder = pathlib.Path(os.environ.get("ROLLCALL_SRC", ROOT / "src"))
    return "\n".join(path.read_text() for path in sorted(folder.rglob("*.rs")))


SOURCE = source_of_functions()


def sections():
    """The runbook's sections by their headings."""
    found = re.split(r"^#{2,3} (.+)$", RUNBOOK, flags=re.M)
    return dict(zip(found[1::2], found[2::2]))


def check_alarms():
    alarms, found = of_type("AWS::CloudWatch::Alarm"), sections()
    for name, alarm in alarms.items():
        text = found.get(name)
        if text is None:
            problems.append(f"docs/runbook.md has no section {name}")
            continue
        for part in PARTS:
            if part not in text:
                problems.append(f"docs/runbook.md, {name}: no {part}")
        if f"docs/runbook.md, {name}." not in alarm["AlarmDescription"]:
            problems.append(f"{name}: its description does not name its section")
        treatment = "breaching" if name == ALWAYS_MEASURED else "notBreaching"
        if alarm["TreatMissingData"] != treatment:
            problems.append(f"{name}: TreatMissingData must be {treatment}")
        # CloudWatch ignores TreatMissingData for these metrics: the alarm would keep its state.
        expressions = [str(query.get("Expression")) for query in alarm.get("Metrics", [])]
        is_of_table = any(namespace == "AWS/DynamoDB" for namespace, _, _ in alarm_metrics(alarm))
        if is_of_table and not any("FILL(" in expression for expression in expressions):
            problems.append(f"{name}: missing values of AWS/DynamoDB must be filled")
    for name in found:
        if name.endswith("Alarm") and name not in alarms:
            problems.append(f"docs/runbook.md has a section {name}, but there is no such alarm")
    if len(alarms) < 20:
        problems.append("the alarms are not read")


def alarm_metrics(alarm):
    """The metrics of an alarm: namespace, name, dimensions."""
    if "Namespace" in alarm:
        yield alarm["Namespace"], alarm["MetricName"], [d["Name"] for d in alarm.get("Dimensions", [])]
    for query in alarm.get("Metrics", []):
        metric = query.get("MetricStat", {}).get("Metric")
        if metric:
            yield metric["Namespace"], metric["MetricName"], [d["Name"] for d in metric["Dimensions"]]
        select = query.get("Expression")
        select = select.get("Fn::Sub") if isinstance(select, dict) else select
        if select and select.startswith("SELECT"):
            name, schema = re.fullmatch(r"SELECT \w+\((\w+)\) FROM SCHEMA\((.+?)\) WHERE .+", select).groups()
            namespace, *dimensions = [part.strip() for part in schema.split(",")]
            # A name may be a keyword, such as FUNCTION.
            if not all(re.fullmatch(r'"\w+"', dimension) for dimension in dimensions):
                problems.append(f"the dimensions in {select} must be in quotes")
            yield namespace, name, [dimension.strip('"') for dimension in dimensions]


def dashboard_metrics():
    for name, properties in of_type("AWS::CloudWatch::Dashboard").items():
        body = properties["DashboardBody"]["Fn::Sub"]
        text = body[0] if isinstance(body, list) else body
        for widget in json.loads(text)["widgets"]:
            for metric in widget["properties"]["metrics"]:
                if isinstance(metric[0], dict):
                    search = metric[0]["expression"]
                    found = re.match(r"""SEARCH\('\{(.+?)\} .*MetricName="(\w+)"', '\w+'\)""", search)
                    (namespace, *dimensions), metric_name = found.group(1).split(","), found.group(2)
                    yield name, namespace, metric_name, dimensions
                else:
                    values = [part for part in metric if isinstance(part, str)]
                    yield name, values[0], values[1], values[2::2]


def filter_metrics():
    for properties in of_type("AWS::Logs::MetricFilter").values():
        for made in properties["MetricTransformations"]:
            yield json.dumps(made["MetricNamespace"]), made["MetricName"], [d["Key"] for d in made.get("Dimensions", [])]


def check_metrics():
    made = list(filter_metrics())
    used = [(n, *m) for n, alarm in of_type("AWS::CloudWatch::Alarm").items() for m in alarm_metrics(alarm)]
    used += dashboard_metrics()
    for user, namespace, name, dimensions in used:
        if namespace == "Rollcall":
            own = METRICS["rollcall"].get(name)
            if own is None or sorted(dimensions) != sorted(["Stack", *own]):
                problems.append(f"{user}: tests/operations/metrics.json has no {name} by {', '.join(dimensions)}")
            for text in [name, *dimensions]:
                if f'"{text}"' not in SOURCE:
                    problems.append(f"{user}: no code in src/ writes {text}")
        elif isinstance(namespace, dict):
            if (json.dumps(namespace), name, dimensions) not in made:
                problems.append(f"{user}: no log filter of the template makes {name}")
        elif sorted(dimensions) not in METRICS["aws"].get(namespace, {}).get(name, []):
            problems.append(f"{user}: AWS has no {namespace} {name} by {', '.join(dimensions)}")
    if len(used) < 50:
        problems.append("the metrics are not read")


def access_logs():
    for api in of_type("AWS::Serverless::Api").values():
        yield api["AccessLogSetting"]["Fn::If"][1]["Format"]


def check_access_logs():
    for text in access_logs():
        for variable in re.findall(r"\$context\.([\w.]+)", text):
            if variable not in SAFE_VARIABLES:
                problems.append(f"the access log has $context.{variable}, which may hold a key or a value")
    for name, api in of_type("AWS::Serverless::Api").items():
        for setting in api["MethodSettings"]:
            if setting["LoggingLevel"] != "OFF" or setting["DataTraceEnabled"]:
                problems.append(f"{name}: execution logs and data traces write keys and bodies")


def check_queries():
    line_fields = {field for text in access_logs() for field in json.loads(text)}
    queries = re.findall(r"^```logs\n(.*?)^```", RUNBOOK, flags=re.M | re.S)
    for query in queries:
        without_texts = re.sub(r"'[^']*'|\"[^\"]*\"|/[^/\n]*/", " ", query)
        made = set(re.findall(r"\bas (\w+)", without_texts))
        for field in re.findall(r"(?<![\w.])@?[A-Za-z_][\w.]*", without_texts):
            known = field in QUERY_WORDS | line_fields | PLATFORM_FIELDS | made
            last = field.rsplit(".", 1)[-1]
            if not known and not re.search(rf'"{last}"|\b{last}( = |,|\))', SOURCE):
                problems.append(f"docs/runbook.md: no log line has the field {field}")
    if len(queries) < 10:
        problems.append("the queries of docs/runbook.md are not read")


def parameters_in(value):
    """The parameters that a value depends on, also by conditions."""
    found = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref" and inner in parameters:
                found.add(inner)
            elif key == "Condition" and inner in conditions:
                found |= parameters_in(conditions[inner])
            elif key == "Fn::If":
                found |= parameters_in(conditions[inner[0]]) | parameters_in(inner[1:])
            elif key == "Fn::Sub":
                text = inner[0] if isinstance(inner, list) else inner
                found |= {name for name in re.findall(r"\$\{(\w+)\}", text) if name in parameters}
                found |= parameters_in(inner[1]) if isinstance(inner, list) else set()
            else:
                found |= parameters_in(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= parameters_in(inner)
    return found


def check_versions():
    for name, function in of_type("AWS::Serverless::Function").items():
        # The functions that try others have no versions.
        if "AutoPublishAlias" not in function:
            continue
        own = {key: value for key, value in function.items() if key not in NOT_OF_VERSION}
        needed = {SAID_AS.get(parameter, parameter) for parameter in parameters_in(own)}
        described = set(re.findall(r"\$\{(\w+)\}", function["VersionDescription"]["Fn::Sub"][0]))
        if needed != described:
            problems.append(f"{name}: VersionDescription has {sorted(described)}, but must have {sorted(needed)}")
        text = function["VersionDescription"]["Fn::Sub"][0]
        most = len(re.sub(r"\$\{\w+\}", "", text)) + sum(map(longest, re.findall(r"\$\{(\w+)\}", text)))
        if most > 256:
            problems.append(f"{name}: VersionDescription can have {most} characters, and Lambda takes 256")


def longest(said):
    """How many characters the value of a parameter has at most."""
    if said == "tracing":
        return len("off")
    parameter = parameters[{"table": "TableName", "app": "AppDomainName"}.get(said, said)]
    if "AllowedValues" in parameter:
        return max(len(str(value)) for value in parameter["AllowedValues"])
    if "MaxLength" in parameter:
        return parameter["MaxLength"]
    if "MaxValue" in parameter:
        return len(str(parameter["MaxValue"]))
    return int(re.search(r"\{\d+,(\d+)\}$", parameter["AllowedPattern"]).group(1))


def check_parameters():
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    documented = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`\w+`.*?) \|", DEPLOY, flags=re.M))))
    for name in parameters:
        if grouped.count(name) != 1:
            problems.append(f"the parameter {name} stands in {grouped.count(name)} groups")
        if name not in documented:
            problems.append(f"docs/deploy.md has no row for the parameter {name}")
    for name in set(grouped) - set(parameters):
        problems.append(f"a group names {name}, which is no parameter")


def check_rates():
    """The stage serves what the plans promise to ten tenants with the plan high and sixty with the plan default."""
    rate = {name: parameters[f"{name}RateLimit"]["Default"] for name in ("Tenant", "High", "Stage", "Read")}
    promised = round(10 * rate["High"] + 60 * rate["Tenant"])
    if rate["Stage"] != promised or rate["Read"] != 2 * promised:
        problems.append(
            f"10 x HighRateLimit + 60 x TenantRateLimit is {promised}: StageRateLimit must be that, and ReadRateLimit twice that"
        )


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def check_links():
    pages = {path: path.read_text() for path in sorted((ROOT / "docs").glob("**/*.md"))}
    anchors = {path: {anchor(h) for h in re.findall(r"^#+ (.+)$", text, flags=re.M)} for path, text in pages.items()}
    for path, text in pages.items():
        for file, place in re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", text):
            target = (path.parent / file).resolve() if file else path
            if place not in anchors.get(target, {place} if target.is_file() else set()):
                problems.append(f"{path.relative_to(ROOT)}: {file}#{place} leads nowhere")


ALL_ON = {
    "AlarmTopic": "arn:aws:sns:eu-west-1:123456789012:alarms", "GradualDeployment": "true", "MakeDashboard": "true",
    "TracingRate": "0.05", "TableName": "restored", "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/k",
    "TableStreamArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/restored/stream/s", "DomainName": "scim.example.com",
    "AppDomainName": "app.example.com", "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/c",
    "DefaultEndpoint": "false", "LogLeavers": "true", "MaxWriteUnits": "100", "ReservedForAuthorizers": "5",
    "AddressRateLimit": "1000", "Probe": "true", "RequestMetrics": "false",
}
ALL_OFF = {"AccessLogs": "false", "MakeGatewayLogRole": "false", "MakeEventBus": "false", "CreateFirstUsageKey": "false"}


def check_transform():
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
    logging.disable(logging.WARNING)
    for chosen in ({}, ALL_OFF, ALL_ON):
        plain = yaml_parse(TEMPLATE)
        for resource in plain["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = "s3://bucket/code"
        values = {name: str(parameter["Default"]) for name, parameter in parameters.items()} | chosen
        try:
            made = Translator({}, Parser()).translate(plain, values)
        except InvalidDocumentException as error:
            problems.extend(f"SAM with {chosen}: {cause.message}" for cause in error.causes)
            continue
        groups = [name for name, r in made["Resources"].items() if r["Type"] == "AWS::CodeDeploy::DeploymentGroup"]
        if len(groups) != (7 if chosen.get("GradualDeployment") else 0):
            problems.append(f"SAM with {chosen} makes {len(groups)} deployment groups")
        text = json.dumps(made, indent=1)
        if len(text) > 1_000_000:
            problems.append(f"SAM with {chosen} makes a template that is larger than CloudFormation's 1 MB")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(text)
            file.flush()
            # Errors alone, such as resources that wait for each other. `cfn-lint template.yaml` looks for the rest.
            lint = [pathlib.Path(sys.executable).parent / "cfn-lint", "--non-zero-exit-code", "error", "-i", "W", "--", file.name]
            found = subprocess.run(lint, capture_output=True, text=True)
        if found.returncode:
            problems.append(f"SAM with {chosen}: cfn-lint\n{found.stdout}{found.stderr}")


if __name__ == "__main__":
    for check in (check_alarms, check_metrics, check_access_logs, check_queries, check_versions, check_parameters, check_rates,
                  check_links, check_transform):
        check()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(of_type('AWS::CloudWatch::Alarm'))} alarms, {len(parameters)} parameters: {len(problems)} problems")
    sys.exit(1 if problems else 0)
