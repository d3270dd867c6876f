"""`erasure ui`: the local page."""

from pathlib import Path
from typing import Annotated

import typer


def ui(
    runs: Annotated[Path, typer.Option(help="Folder of the runs; new ones go there.")] = Path(
        "out"
    ),
    models: Annotated[
        list[Path] | None,
        typer.Option(help="A folder with models that the page may open; again for more."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where it listens; others than this machine can reach any other.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and open nothing.")
    ] = False,
) -> None:
    """Open a local page: erase, watch, compare, undo.

    The address holds a random token; whoever has it can use the page. Jobs are processes of their
    own: closing the page or ending this command stops none of them.
    """
    import webbrowser
    from contextlib import nullcontext
    from ipaddress import ip_address
    from threading import Thread

    from erasure.errors import ConfigError
    from erasure.storage.disk import disk_errors
    from pipelines.ui.opening import opening
    from pipelines.ui.places import Places
    from pipelines.ui.server import Server

    for folder in models or ():
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}; give --models a folder with models")
    if runs.exists() and not runs.is_dir():
        raise ConfigError(f"{runs} is a file; give --runs the folder of the runs, or a new one")
    with disk_errors(runs):
        runs.mkdir(parents=True, exist_ok=True)
    try:
        server = Server(
            host, port, Places(runs.resolve(), tuple(f.resolve() for f in models or ()))
        )
    except (OSError, OverflowError, UnicodeError) as err:
        raise ConfigError(f"cannot listen on {host} port {port}: {err}; give another") from err
    bound = ip_address(str(server.server_address[0]))
    if bound.is_unspecified:  # 0.0.0.0, and what means the same
        server.server_close()
        raise ConfigError(
            "the page checks by which name it is asked, so it cannot listen on all addresses; give "
            "--host the address of this machine that is to be used"
        )
    if not bound.is_loopback:
        typer.echo(f"note: {host} can be reached from other machines; keep the address", err=True)
    typer.echo(server.address)
    with nullcontext("") if no_browser else opening(server.address, runs.resolve()) as place:
        if place:  # some browsers are waited for, and they wait for the page
            Thread(target=webbrowser.open, args=(place,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("the page is closed; jobs that run go on", err=True)
        finally:
            server.server_close()
