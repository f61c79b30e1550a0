"""Animations as GIF and MP4, encoded frame by frame."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from prefpaint.errors import PrefPaintError

LEAST_WIDTH, FRAMES_PER_SECOND = 256, Fraction(100, 9)
# A palette per frame: one for all would take a second pass over the frames, or all of them in memory.
GIF_FILTER = "split[a][b];[a]palettegen=stats_mode=single:reserve_transparent=0[p];[b][p]paletteuse=new=1"
GIF = ["-f", "gif", "-loop", "0", "-filter_complex", GIF_FILTER]
# Even sides, which halved colours need; the index at the front, so that a browser begins before the end has come;
# colours as players decode them today. Neither clock nor number of threads enters the file.
MP4 = [
    *("-f", "mp4", "-preset", "medium", "-crf", "16", "-threads", "1", "-movflags", "+faststart"),
    *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
]
SAME_BYTES = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"]
# By file ending: codec, pixel format, options of ffmpeg.
KINDS = {".gif": ("gif", "pal8", GIF), ".mp4": ("libx264", "yuv420p", MP4)}


def write_animation(frames: Iterable[np.ndarray], path: Path, shown: Path) -> None:
    """Frames as a GIF that loops forever or an MP4, as the file ending of `shown` says.

    One frame is in memory at a time. Small frames are enlarged by a whole factor, so that they can be looked at, and an
    MP4 gets a black row or column where a side is odd.

    Args:
        frames: each (H, W, 3) uint8 and of one size.
        path: where to write.
        shown: what the file is called in messages.

    Raises:
        PrefPaintError: the ending is another; there are no frames, or of several sizes; or ffmpeg cannot write them.
    """
    if shown.suffix not in KINDS:
        raise PrefPaintError(f"{shown}: animations are .gif or .mp4; rename it in the catalog")
    try:
        _encode(frames, path, shown)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise PrefPaintError(f"{shown}: ffmpeg cannot write it ({reason}); nothing was changed") from error


def _encode(frames: Iterable[np.ndarray], path: Path, shown: Path) -> None:
    import imageio_ffmpeg

    codec, pixels, options = KINDS[shown.suffix]
    writer, count = None, 0
    shape: tuple[int, ...] = ()
    try:
        for frame in frames:
            if writer is None:
                shape = frame.shape
                factor = max(1, LEAST_WIDTH // shape[1])
                writer = imageio_ffmpeg.write_frames(
                    str(path),
                    (factor * shape[1], factor * shape[0]),
                    fps=FRAMES_PER_SECOND,
                    codec=codec,
                    pix_fmt_out=pixels,
                    macro_block_size=1,
                    quality=None,
                    # Errors are told in one sentence here.
                    ffmpeg_log_level="quiet",
                    output_params=[*options, *SAME_BYTES],
                )
                writer.send(None)
            if frame.shape != shape:
                raise PrefPaintError(
                    f"{shown}: frame {count} is {frame.shape[1]} x {frame.shape[0]} px, the first "
                    f"{shape[1]} x {shape[0]}; make all frames the same size"
                )
            writer.send(np.ascontiguousarray(frame.repeat(factor, 0).repeat(factor, 1)))
            count += 1
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise PrefPaintError(f"{shown}: there are no frames to animate; run the pipeline that makes them")
    # The writer does not look at how ffmpeg ended.
    written, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    if written != count:
        raise PrefPaintError(f"{shown}: ffmpeg wrote {written} of {count} frames; is the disk full?")
