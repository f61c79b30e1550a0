"""Raters at the same time while the server is killed; the figures at size are in benchmarks/studio.py."""

from pathlib import Path

from benchmarks.studio import crowd


def test_every_acknowledged_rating_is_there_exactly_once(tmp_path: Path) -> None:
    found = crowd(tmp_path, raters=4, prompts=12, kills=2)
    assert found.answered == 4 * 12 and found.kills == 2
    assert found.stored == 4 * 12 * 3 and found.lost == 0 and found.doubled == 0
