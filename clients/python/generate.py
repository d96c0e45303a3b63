"""Writes src/rollcall_client/types.py from docs/app-openapi.json; with --check, says whether it is current."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "app-openapi.json"
TYPES = HERE / "src" / "rollcall_client" / "types.py"
HEADER = '"""Types of requests and answers. generate.py writes this file from docs/app-openapi.json."""\n'
IMPORT = "from typing_extensions import NotRequired\n"
IMPORT_BY_VERSION = """if sys.version_info >= (3, 11):
    from typing import NotRequired
else:
    from typing_extensions import NotRequired
"""


def prepare(schema: Any, name: str) -> None:
    """Names the objects inside a schema after their place, and lets objects have fields that are not in the document."""
    if not isinstance(schema, dict):
        return
    schema.pop("additionalProperties", None)
    if "properties" in schema:
        schema["title"] = name
    for field, inner in schema.get("properties", {}).items():
        last = "Extension" if field.startswith("urn:") and ":rollcall:" in field else field.split(":")[-1]
        last = "Enterprise" if ":enterprise:" in field else last
        prepare(inner, name + last.lstrip("$")[0].upper() + last.lstrip("$")[1:])
    for inner in [schema.get("items"), *schema.get("anyOf", [])]:
        prepare(inner, name)


def generate() -> str:
    """The text of types.py."""
    document = json.loads(DOCUMENT.read_text())
    for name, schema in document["components"]["schemas"].items():
        prepare(schema, name)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "openapi.json", Path(folder) / "types.py"
        source.write_text(json.dumps(document))
        options = {
            "--input": str(source),
            "--input-file-type": "openapi",
            "--output": str(target),
            "--output-model-type": "typing.TypedDict",
            "--target-python-version": "3.10",
            "--formatters": "builtin",
        }
        command = [sys.executable, "-m", "datamodel_code_generator"]
        command += [text for option in options.items() for text in option]
        command += ["--use-title-as-name", "--use-double-quotes", "--disable-timestamp"]
        subprocess.run(command, check=True)
        text = target.read_text()
    if IMPORT not in text:
        raise SystemExit(f"datamodel-code-generator no longer writes {IMPORT!r}: change IMPORT in generate.py.")
    text = text[text.index("from __future__") :].replace(IMPORT, IMPORT_BY_VERSION)
    text = text.replace("from typing import", "import sys\nfrom typing import", 1)
    return HEADER + "\n" + text


def main() -> None:
    """Writes or checks the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is current")
    check = parser.parse_args().check
    text = generate()
    if not check:
        TYPES.write_text(text)
    elif not TYPES.exists() or TYPES.read_text() != text:
        raise SystemExit(f"{TYPES.relative_to(HERE)} is not what docs/app-openapi.json says: run python generate.py.")


if __name__ == "__main__":
    main()
