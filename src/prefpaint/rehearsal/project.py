"""A project folder of its own, in which the stages of the paper's scale are rehearsed."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from prefpaint.alignment.config import over
from prefpaint.files import whole_file
from prefpaint.photographs.sources import embedded_photographs

ENVIRONMENT = "rehearsal"
# Environments from the bottom: each is merged over those before it.
LAYERS = ("paper", ENVIRONMENT)
# Square, and of the size that conf/paper has.
EXTENDED = "astronaut"
PROJECT = """[tool.kedro]
package_name = "prefpaint"
project_name = "PrefPaint rehearsal"
kedro_init_version = "1.7.0"
source_dir = "."
"""


def merged(conf: Path, kind: str, environments: tuple[str, ...]) -> dict[str, Any]:
    """Parameters or catalog of several environments, as Kedro merges them: parameters at every depth, datasets whole.

    Args:
        conf: folder of the environments.
        kind: "parameters" or "catalog".
        environments: each over those before it.
    """
    found: dict[str, Any] = {}
    for environment in environments:
        for file in sorted((conf / environment).glob(f"{kind}*.yml")):
            given = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            found = over(found, given) if kind == "parameters" else {**found, **given}
    return found


def write_project(folder: Path, conf: Path, judge: Any) -> Mapping[str, Any]:
    """Make or renew the folder; data and checkpoints in it stay.

    Args:
        folder: of the project.
        conf: the real project's configuration, of which base, paper and rehearsal are taken.
        judge: of the simulated raters.

    Returns:
        The parameters of the paper's scale, for an estimate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / ".telemetry").write_text("consent: false\n", encoding="utf-8")
    shutil.copytree(conf / "base", folder / "conf/base", dirs_exist_ok=True)
    shutil.copy(conf / "logging.yml", folder / "conf")
    for kind in ("parameters", "catalog"):
        with whole_file(folder / f"conf/{ENVIRONMENT}/{kind}.yml") as temporary:
            temporary.write_text(yaml.safe_dump(merged(conf, kind, LAYERS), sort_keys=False), encoding="utf-8")
    if not (folder / "data/06_models/judge").exists():
        judge.save_pretrained(folder / "data/06_models/judge")
    _write_photographs(folder / "data/01_raw/photographs")
    return merged(conf, "parameters", ("base", "paper"))


def _write_photographs(folder: Path) -> None:
    """The embedded photographs and their mirror images; and one that is to be extended, in a folder beside."""
    for photograph in embedded_photographs():
        files = {folder / f"{photograph.name}.png": photograph.image}
        files[folder / f"{photograph.name}_mirrored.png"] = photograph.image[:, ::-1]
        if photograph.name == EXTENDED:
            files[folder.parent / f"pictures/{EXTENDED}.png"] = photograph.image
        for file, image in files.items():
            if not file.exists():
                with whole_file(file) as temporary:
                    Image.fromarray(np.ascontiguousarray(image)).save(temporary, format="png")
