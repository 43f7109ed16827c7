"""Where every number comes from: the command, the table and its digest, versions, and each run's folder and commit."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform

from weather.presentation.parts import Column, Part, Sheet
from weather.runtime.run_folder import git_commit
from weather.study.report.material import Material

PACKAGES = ("weather", "numpy", "scipy", "matplotlib", "jinja2")


def provenance_part(material: Material, command: str, made: datetime.datetime) -> Part:
    """Of the report and of each run."""
    facts = [
        ("command", command),
        ("made", made.strftime("%Y-%m-%d %H:%M:%S %Z")),
        ("study", str(material.folder.path.absolute())),
        ("table", str(material.table) if material.table_digest else "not collected yet"),
        ("sha256 of the table", material.table_digest or None),
        ("code", git_commit() or "not in a repository"),
        ("python", platform.python_version()),
        *((package, _version(package)) for package in PACKAGES),
    ]
    fact_sheet = Sheet("provenance", "The report.", (Column("what", "what"), Column("value", "value")), tuple(facts))
    names = [run.name for run in material.plan.runs]
    by_name = {row.name: row for row in material.rows}
    rows = []
    for name in names:
        row = by_name.get(name)
        environment = material.curves[name].environment if name in material.curves else {}
        packages = environment.get("packages") or {}
        rows.append(
            (
                name,
                (row.text("commit") if row else "") or environment.get("commit"),
                packages.get("torch"),
                (row.text("device") if row else "") or None,
                (row.text("validation_set") if row else "") or None,
                str(material.folder.config_file(name)),
                str(material.folder.run(name)) if name in material.curves else None,
            )
        )
    columns = (
        Column("name", "run"),
        Column("commit", "commit"),
        Column("torch", "torch"),
        Column("device", "device"),
        Column("validation_set", "validation set"),
        Column("config", "config"),
        Column("run", "run folder"),
    )
    run_sheet = Sheet(
        "run_provenance", "Runs: the code that trained them, what they were validated on, where they lie.", columns,
        tuple(rows),
    )  # fmt: skip
    commits = {row[1] for row in rows if row[1]}
    remarks = (f"The runs were trained by {len(commits)} different commits.",) if len(commits) > 1 else ()
    return Part("provenance", "Provenance", sheets=(fact_sheet, run_sheet), remarks=remarks)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
