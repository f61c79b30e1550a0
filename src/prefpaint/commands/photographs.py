"""`kedro photographs …`: pictures to train on."""

from pathlib import Path

import click

from prefpaint.commands.base import OneSentence


@click.group()
def photographs() -> None:
    """Photographs to pretrain the embedded model on."""


@photographs.command(cls=OneSentence)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--packages",
    default=None,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of .deb files; missing ones are downloaded into it.  [default: OUT/packages]",
)
@click.option(
    "--shortest-side",
    default=320,
    show_default=True,
    type=click.IntRange(min=16),
    help="Shortest side, in pixels, that larger pictures are reduced to; none is enlarged.",
)
def download(out: Path, packages: Path | None, shortest_side: int) -> None:
    """Build the set of pretraining photographs in OUT from Debian packages.

    Run it again after an interruption and it resumes. Nothing is installed.
    """
    from prefpaint.photographs.debian import download_photographs

    own = out / "packages"
    done = download_photographs(out, packages or own, shortest_side)
    click.echo(
        f"{out}: {done.counts['train']} photographs to train on, {done.counts['validation']} for validation, "
        f"{done.counts['held_out']} held out; {len(done.missing)} listed ones are missing"
    )
    click.echo(f"Their licences are in {out / 'licences.csv'}")
    if own.is_dir():
        click.echo(f"The packages in {own} are no longer needed")
