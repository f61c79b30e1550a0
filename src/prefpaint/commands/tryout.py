"""`kedro try`: your own pictures, filled by base and aligned model."""

import secrets

import click

from prefpaint.commands.base import OneSentence, environment, load, project, warn_of_old
from prefpaint.errors import needs_extra

PORT = 8600
EXAMPLES = 12


@click.command("try", cls=OneSentence)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any but loopback requires a token."
)
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@environment
def tryout(host: str, port: int, env: str | None) -> None:
    """Serve a page on which pictures are filled by base and aligned model."""
    from prefpaint.applications.best import Chooser
    from prefpaint.applications.extend_collection import choose_pictures
    from prefpaint.applications.tryout.painter import Painter
    from prefpaint.distributed import device
    from prefpaint.inpainting.config import SamplingConfig
    from prefpaint.inpainting.sampling import Inpainter
    from prefpaint.trust.choice import read_choice_errors

    with needs_extra("studio", "`kedro try`"):
        from prefpaint.applications.tryout.server import create_app
        from prefpaint.web import address_of, check_free, is_loopback, run

    check_free(host, port)
    with project(env) as context:
        catalog = context.catalog
        names = ("base_model", "aligned_model", "reward_model", "choice_errors", "prompts", "prompt_images")
        warn_of_old(context, names)
        base, aligned, reward, errors, prompts, images = (load(catalog, name) for name in names)
        sampling = SamplingConfig.model_validate(context.config_loader["parameters"]["sampling"])
    inpainters = {"base": Inpainter(base, sampling), "aligned": Inpainter(aligned, sampling)}
    painter = Painter(inpainters, Chooser(reward.to(device()), read_choice_errors(errors)))
    examples = [images[name] for name in choose_pictures(prompts, EXAMPLES)]
    token = None if is_loopback(host) else secrets.token_urlsafe(32)
    click.echo(f"Try it at {address_of(host, port)}  (Ctrl+C stops it)")
    if token:
        click.echo(f"Visitors reach it by this machine's name or address and need the token {token}")
        click.echo("This address is not encrypted: use it on a network you trust")
    run(create_app(painter, examples, host, token), host, port)
