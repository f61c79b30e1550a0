"""Label Studio: tasks to import there, and ratings from what it exports."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.errors import PrefPaintError, printable
from prefpaint.files import whole_folder
from prefpaint.images import write_image
from prefpaint.preferences.schema import CRITERIA, HIGHEST, LOWEST


def label_studio_config(candidates: int) -> str:
    """The labelling configuration for tasks of so many candidates: XML for a project's settings.

    Scores are `Choices` from 0 to 7, because Label Studio's stars start at 1.
    """
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    view = Element("View")
    SubElement(view, "Header", value="The picture with its hole, and its candidates")
    SubElement(view, "Image", name="incomplete", value="$incomplete", zoom="true")
    SubElement(view, "Text", name="scale", value="$scale")
    for number in range(1, candidates + 1):
        SubElement(view, "Header", value=f"Candidate {number}", size="4")
        SubElement(view, "Image", name=f"candidate_{number}", value=f"$candidate_{number}", zoom="true")
        for criterion in CRITERIA:
            SubElement(view, "Header", value=criterion, size="5")
            choices = SubElement(
                view,
                "Choices",
                name=f"{criterion}_{number}",
                toName=f"candidate_{number}",
                choice="single-radio",
                showInline="true",
                required="true",
            )
            for score in range(LOWEST, HIGHEST + 1):
                SubElement(choices, "Choice", value=str(score))
    indent(view)
    return tostring(view, encoding="unicode") + "\n"


def label_studio_tasks(candidates: pd.DataFrame, address: str) -> list[dict[str, Any]]:
    """One task per prompt, for Label Studio's import.

    Args:
        candidates: candidate_id and prompt_id, in the order in which they are to be shown.
        address: what comes before an image's file name: where the labelling program finds the exported images.

    Returns:
        data: prompt_id, scale (words), incomplete (address), and per candidate its address and id.
    """
    scale = "0-2 failure; 3-5 roughly right, with flaws; 6-7 reasonable and complete"
    tasks = []
    for prompt_id, group in candidates.groupby("prompt_id", sort=True):
        data = {"prompt_id": prompt_id, "scale": scale, "incomplete": f"{address}{prompt_id}.png"}
        for number, name in enumerate(group["candidate_id"], 1):
            data |= {f"candidate_{number}": f"{address}{name}.png", f"candidate_{number}_id": name}
        tasks.append({"data": data})
    return tasks


def annotation_rows(tasks: list[Any]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """What Label Studio exports as JSON; see its "Label Studio JSON format of annotated tasks".

    Args:
        tasks: the list that the file holds.

    Yields:
        Each rating's place ("task 3, annotation 1") with its row, RATING_COLUMNS of anything, or with what is wrong.
    """
    for number, task in enumerate(tasks, 1):
        yield from _of_task(task, f"task {number}")


def _of_task(task: Any, place: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
        yield place, "has no data; export the project as JSON (not JSON-MIN) again"
        return
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        yield place, "has no list of annotations; export the project as JSON (not JSON-MIN) again"
        return
    data = task["data"]
    ids = {name.removesuffix("_id"): value for name, value in data.items() if str(name).endswith("_id")}
    ids.pop("prompt", None)
    for index, annotation in enumerate(annotations, 1):
        here = f"{place}, annotation {index}"
        if not isinstance(annotation, Mapping) or not isinstance(annotation.get("result"), list):
            yield here, "has no result; remove it"
            continue
        if annotation.get("was_cancelled"):
            yield here, "was skipped by its annotator"
            continue
        scores = _scores(annotation["result"])
        if not scores:
            yield here, "rates nothing under the names of our labelling configuration; rate it or remove it"
        who = annotation.get("completed_by")
        rater = (who.get("email") or who.get("id")) if isinstance(who, Mapping) else who
        rater = f"label-studio-{rater}" if isinstance(rater, int) and not isinstance(rater, bool) else rater
        for seen, given in sorted(scores.items()):
            twice = [criterion for criterion, values in given.items() if len(values) > 1]
            if twice:
                said = " and ".join(str(value)[:80] for value in given[twice[0]])
                yield here, f"{twice[0]} of {printable(seen)} is given more than once, as {said}; keep one"
                continue
            yield (
                here,
                {
                    "candidate_id": ids.get(seen, f"{seen} of {data.get('prompt_id')}"),
                    "rater": rater,
                    **{criterion: given.get(criterion, [None])[0] for criterion in CRITERIA},
                    "rated_at": annotation.get("updated_at") or annotation.get("created_at"),
                },
            )


def _scores(results: list[Any]) -> dict[str, dict[str, list[Any]]]:
    """By what was looked at and criterion the scores that were given, each once.

    An annotation has one time for all its regions, so that of two that contradict each other neither is the later.
    """
    scores: dict[str, dict[str, list[Any]]] = {}
    for result in results:
        if not isinstance(result, Mapping) or not isinstance(result.get("value"), Mapping):
            continue
        criterion = str(result.get("from_name", "")).rpartition("_")[0]
        if criterion in CRITERIA:
            given = scores.setdefault(str(result.get("to_name")), {}).setdefault(criterion, [])
            score = _score(result["value"])
            # Compared as they are written: the number 1 and the text 1 are one score, 1 and true are not.
            if str(score) not in map(str, given):
                given.append(score)
    return scores


def _score(value: Mapping[str, Any]) -> Any:
    """The number in a result of `Choices`, `Rating` or `Number`."""
    choices = value.get("choices")
    if isinstance(choices, list) and len(choices) == 1:
        return choices[0]
    return value.get("rating", value.get("number"))


def label_studio_folder(
    folder: Path, candidates: pd.DataFrame, images: Callable[[str], np.ndarray], address: str
) -> None:
    """Write tasks.json, labelling.xml and the images that they name into a folder, whole or not at all.

    Args:
        folder: must not exist yet.
        candidates: as for `label_studio_tasks`.
        images: by prompt id the picture with its hole, by candidate id the candidate; (H, W, 3) uint8.
        address: as for `label_studio_tasks`.

    Raises:
        PrefPaintError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise PrefPaintError(f"{folder}: already exists; name a new folder")
    with whole_folder(folder) as temporary:
        tasks = label_studio_tasks(candidates, address)
        (temporary / "tasks.json").write_text(json.dumps(tasks, indent=1), encoding="utf-8")
        largest = int(candidates.groupby("prompt_id").size().max())
        (temporary / "labelling.xml").write_text(label_studio_config(largest), encoding="utf-8")
        (temporary / "images").mkdir()
        for name in (*candidates["prompt_id"].unique(), *candidates["candidate_id"]):
            write_image(temporary / "images" / f"{name}.png", images(name))
