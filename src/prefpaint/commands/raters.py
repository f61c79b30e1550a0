"""`kedro rate`, `kedro raters …` and `kedro ratings …`: people, and what they say."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from prefpaint.commands.base import RATED, OneSentence, environment, load, project, warn_of_old
from prefpaint.errors import PrefPaintError, needs_extra, printable

PORT = 8500


@click.command(cls=OneSentence)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@environment
def rate(host: str, port: int, env: str | None) -> None:
    """Serve the rating studio for the candidates that exist."""
    from prefpaint.studio.accounts import has_token_holders
    from prefpaint.studio.config import StudioConfig
    from prefpaint.studio.overview import at_odds
    from prefpaint.studio.studio import Studio

    with needs_extra("studio", "`kedro rate`"):
        from prefpaint.studio.server import serve
        from prefpaint.web import address_of, check_free, is_loopback

    with project(env) as context:
        warn_of_old(context, RATED)
        catalog = context.catalog
        names = ("prompts", "candidates", "prompt_images", "prompt_masks", "candidate_images")
        config = StudioConfig.model_validate(context.config_loader["parameters"]["studio"])
        inputs = {name: load(catalog, name) for name in names}
        order = _uncertain_first(catalog, config.seed, inputs) if config.order == "uncertain" else []
        studio = Studio(catalog.load("rating_store"), config=config, order=order, **inputs)
    check_free(host, port)
    if (config.url or not is_loopback(host)) and not has_token_holders(studio.store):
        raise PrefPaintError(
            f"nobody could sign in at {config.url or host}: tokens are required there, and none has been given out; "
            "run `kedro raters add NAME` first"
        )
    address = config.url or address_of(host, port)
    click.echo(f"The studio is at {address}  (Ctrl+C stops it; nothing that was saved is lost)")
    pages = "" if config.question != "pairs" else f", {len(studio.work)} pairs of fills"
    click.echo(f"{studio.prompts} prompts{pages}, {config.overlap} raters each; ratings go to {_place(studio.store)}")
    asked = {one.prompt_id for one in studio.work.values()}
    candidates = inputs["candidates"]
    count = at_odds(studio.store, candidates[candidates["prompt_id"].isin(asked)], config.question)
    if count and config.question != "scores":
        click.echo(
            f"{count} of these prompts have scores already: choices among their fills are stored, but do not count "
            "beside scores (studio.question)."
        )
    elif count:
        click.echo(
            f"{count} of these prompts have choices and no scores yet: once somebody scores such a prompt, its choices "
            "no longer count (studio.question)."
        )
    if config.calibration and not studio.calibration:
        click.echo(
            "Calibration pages are skipped: no prompt with a known original and without words is kept for evaluation."
        )
    if not is_loopback(host):
        click.echo("Raters reach it by this machine's name or address, not by the one above.")
        click.echo(
            "This address is not encrypted: use it on a network you trust, or put a reverse proxy with TLS in front"
        )
    try:
        serve(studio, host, port)
    finally:
        studio.store.close()


def _uncertain_first(catalog: Any, seed: int, inputs: dict[str, Any]) -> list[str]:
    """The order of `studio.order: uncertain`."""
    from prefpaint.studio.order import by_width

    for name in ("reward_model", "trust", "scores"):
        if not catalog.exists(name):
            raise PrefPaintError(
                f"studio.order: uncertain asks by the trained reward, and {name} does not exist yet; run `kedro run "
                "--pipelines=preferences,reward,bound` once some prompts are rated, or set studio.order: seeded"
            )
    trust = catalog.load("trust")
    if not trust.informative:
        click.echo(
            f"The trust width carries no information ({'; '.join(trust.reasons)}): asking by it may be no better than "
            "studio.order: seeded."
        )
    used = ("prompts", "candidates", "candidate_images", "prompt_masks")
    rated = set(catalog.load("scores")["prompt_id"])
    return by_width(
        catalog.load("reward_model"), trust, rated=rated, seed=seed, **{name: inputs[name] for name in used}
    )


def _place(store: Any) -> str:
    return str(store.file or store.engine.url.render_as_string(hide_password=True))


@click.group()
def raters() -> None:
    """Who may rate, and how they are doing."""


@raters.command(cls=OneSentence)
@click.argument("names", nargs=-1, required=True)
@click.option("--organiser", is_flag=True, help="They can see everybody's progress and export ratings.")
@click.option(
    "--address",
    default=None,
    help=f"Address of the studio, for the links.  [default: studio.url, or http://127.0.0.1:{PORT}]",
)
@environment
def add(names: tuple[str, ...], organiser: bool, address: str | None, env: str | None) -> None:
    """Give each of NAMES a token, which is shown once; earlier tokens stop working."""
    from prefpaint.studio.accounts import add_rater

    with project(env) as context:
        store, url = context.catalog.load("rating_store"), context.config_loader["parameters"]["studio"]["url"]
    address = (address or url or f"http://127.0.0.1:{PORT}").rstrip("/")
    for name in names:
        token = add_rater(store, name, organiser)
        click.echo(f"{name}\n  token {token}\n  link  {address}/#{urlencode({'name': name, 'token': token})}")
    store.close()


@raters.command(cls=OneSentence)
@click.argument("name")
@environment
def block(name: str, env: str | None) -> None:
    """Block NAME at once; their ratings stay."""
    from prefpaint.studio.accounts import block_rater

    with project(env) as context:
        store = context.catalog.load("rating_store")
    block_rater(store, name)
    store.close()
    click.echo(f"{name} is blocked; `kedro raters add {name}` lets them in again")


@raters.command("list", cls=OneSentence)
@environment
def list_raters(env: str | None) -> None:
    """Progress, agreement, and raters who contradict themselves."""
    from rich.console import Console
    from rich.table import Table

    from prefpaint.masks.config import RATED_SPLITS
    from prefpaint.studio.config import StudioConfig
    from prefpaint.studio.overview import overview
    from prefpaint.studio.questions import all_works

    with project(env) as context:
        catalog = context.catalog
        store = _stored(catalog)
        prompts, candidates = load(catalog, "prompts"), load(catalog, "candidates")
        config = StudioConfig.model_validate(context.config_loader["parameters"]["studio"])
    rated = set(prompts.loc[prompts["split"].isin(RATED_SPLITS), "prompt_id"])
    shown_to_raters = candidates[candidates["prompt_id"].isin(rated)]
    scored = config.question == "scores"
    found = overview(store, shown_to_raters, all_works(prompts, candidates, config), config)
    console, table = Console(), Table()
    # α is of scores; of choices the share that stayed the same.
    of_question = ("self_alpha", "with_others") if scored else ("self_same", "choices_with_others")
    for title in ("rater", "pages", "cannot judge", "s / page", "calibration", "consistency", "with others"):
        table.add_column(title, overflow="fold")
    for row in found["raters"]:
        numbers = (row["pages"], row["cannot_judge"], row["seconds"], row["calibration"])
        shown = ["–" if value is None else f"{value:g}" for value in (*numbers, *(row[key] for key in of_question))]
        table.add_row(_plain(row["name"] + (" (blocked)" if row["blocked"] else "")), *shown)
    console.print(table)
    for row in found["raters"]:
        if row["flags"]:
            console.print(_plain(f"{row['name']}: {'; '.join(row['flags'])}"))
    done, agreement = found["prompts"], found["agreement"]
    console.print(f"{done['complete']} of {done['total']} prompts have {config.overlap} raters; {done['begun']} begun")
    if found["ratings"] or scored:
        said = ", ".join(f"{name} {'–' if value is None else value}" for name, value in agreement.items())
        console.print(f"{found['ratings']} ratings; Krippendorff's α and order alike: {said}")
    if found["comparisons"] or not scored:
        alike = "–" if found["choices_alike"] is None else found["choices_alike"]
        console.print(f"{found['comparisons']} comparisons; two raters choose alike: {alike}")
    store.close()


def _plain(text: str) -> Any:
    """Text that rich takes as it is: a rater's name is not markup."""
    from rich.text import Text

    return Text(text)


def _stored(catalog: Any) -> Any:
    store = catalog.load("rating_store")
    if not store.is_there():
        raise PrefPaintError(_nobody(store))
    return store


def _nobody(store: Any) -> str:
    return f"{_place(store)}: nobody has rated yet; `kedro rate` serves the studio"


@click.group()
def ratings() -> None:
    """Ratings from and to files."""


@ratings.command("import", cls=OneSentence)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Import nothing if any row is wrong.")
@environment
def import_ratings(files: tuple[Path, ...], strict: bool, env: str | None) -> None:
    """Add the ratings or comparisons in FILES (CSV, Excel, Parquet, Label Studio's JSON, …) to the store."""
    from prefpaint.preferences.exchange import read_preferences

    with project(env) as context:
        store, candidates = context.catalog.load("rating_store"), load(context.catalog, "candidates")
    read = [read_preferences(file, candidates) for file in files]
    wrong = 0
    for one in read:
        for note in one.notes:
            click.echo(printable(f"{one.path}: {note}"), err=True)
        for row in one.rejected:
            click.echo(printable(f"{one.path}, {row.place}: {row.reason}"), err=True)
        wrong += len(one.rejected)
    if strict and wrong:
        raise PrefPaintError(f"{wrong} rows are wrong and --strict was given: nothing was imported")
    for one in read:
        new = store.add_ratings(one.ratings) + store.add_comparisons(one.comparisons)
        good = len(one.ratings) + len(one.comparisons)
        said = f"{one.path}: {good} good rows, {new} of them new; {len(one.rejected)} rejected"
        click.echo(printable(said))
    store.close()


@ratings.command(cls=OneSentence)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--comparisons", is_flag=True, help="Write the comparisons instead: choices, and those imported.")
@environment
def export(file: Path, comparisons: bool, env: str | None) -> None:
    """Write the ratings in the store to FILE (.csv or .parquet)."""
    from prefpaint.preferences.exchange import write_table

    with project(env) as context:
        store = _stored(context.catalog)
    both = {"ratings": store.ratings(), "comparisons": store.comparisons()}
    asked, other = ("comparisons", "ratings") if comparisons else ("ratings", "comparisons")
    if both[asked].empty and not both[other].empty:
        option = "leave out" if comparisons else "add"
        raise PrefPaintError(
            f"{_place(store)}: holds {len(both[other])} {other} and no {asked}; {option} --comparisons to export those"
        )
    if both[asked].empty:
        raise PrefPaintError(_nobody(store))
    write_table(both[asked], file)
    store.close()
    click.echo(f"{file}: {len(both[asked])} {asked}")


@ratings.command(cls=OneSentence)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--address",
    default="/data/local-files/?d=images/",
    show_default=True,
    help="Prefix of an image's file name: where Label Studio finds the folder's images.",
)
@environment
def tasks(folder: Path, address: str, env: str | None) -> None:
    """Write Label Studio tasks, its labelling configuration and the images to FOLDER."""
    from prefpaint.masks.figures import show_hole
    from prefpaint.preferences.label_studio import label_studio_folder

    with project(env) as context:
        names = ("candidates", "prompt_images", "prompt_masks", "candidate_images")
        candidates, images, masks, fills = (load(context.catalog, name) for name in names)

    def picture(name: str) -> Any:
        return fills[name] if name in fills else show_hole(images[name], masks[name])

    label_studio_folder(folder, candidates.sort_values("candidate_id"), picture, address)
    click.echo(
        f"{folder}: tasks.json to import, labelling.xml for the project's labelling configuration, and images/, which "
        f"Label Studio must find at {address}"
    )
