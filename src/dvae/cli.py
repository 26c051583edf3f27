"""Command line: ``dvae`` and its commands; what is slow to import is imported inside them."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from dvae.errors import DataError, DvaeError
from dvae.outputs import FIELDS_SUFFIXES, LATENTS_SUFFIXES, REPORT, check_output
from dvae.storage import results_folder

__all__ = ["app", "main"]

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # exit codes, as of a shell
USAGE_ERROR: Any = typer.BadParameter.__base__  # of typer's own copy of click, or of click

LATENTS, FIELDS = Path("z.csv"), Path("fields.npz")  # where encode and decode write by default

app = typer.Typer(
    help="Variational autoencoders that disentangle the generative factors of physical fields.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Profile = Annotated[str, typer.Option(help="smoke, laptop or paper.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Key of the fields in the file; several, also separated by commas, become channels.",
        show_default="output, fields, tensor or the only one",
    ),
]
Factors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Keys of the factors in the file, or a CSV file with a header and a row for each "
        "sample.",
        show_default="generative_params or factors",
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        help="Where the axis of channels is: first (after the samples), last or none. Default: "
        "first for arrays of four axes, none for those of fewer.",
        show_default=False,
    ),
]
Orientation = Annotated[
    str | None,
    typer.Option(
        help="How fields lie in the file: ij (axes x1, x2) or reference (turned, as in the "
        "authors' files). Default: as the file's attribute says, else ij.",
        show_default=False,
    ),
]
Run = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of 'dvae train'.")]
Member = Annotated[
    int | None,
    typer.Option(help="Number of the model.", show_default="that with the lowest loss"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the output file if it is already there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _show_version(asked: bool) -> bool:
    """Print the version and end, if asked to."""
    if asked:
        from importlib.metadata import version

        typer.echo(f"dvae {version('dvae')}")
        raise typer.Exit
    return asked


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options of the program: ``debug`` is read by :func:`main`, and declared here for --help."""


@app.command()
def generate(
    output: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    factors: Annotated[str, typer.Option(help="Name of the factor distribution.")] = (
        "standard-normal"
    ),
    samples: Annotated[int, typer.Option(help="Number of samples.")] = 1024,
    n_factors: Annotated[int, typer.Option(help="KLE modes, one factor each.")] = 2,
    nodes: Annotated[int, typer.Option(help="Grid nodes per side.")] = 65,
    length_scale: Annotated[float, typer.Option(help="Correlation length of eq. 19.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    device: Device = "cpu",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Draw factors, solve Darcy flow, write a data set."""
    check_output(output, force=force)
    from dvae.physics import DarcyDataset

    data = DarcyDataset.generate(
        factors,
        samples,
        seed,
        n_factors=n_factors,
        n_nodes=nodes,
        length_scale=length_scale,
        device=device,
        progress=not quiet,
    )
    data.save(output)
    typer.echo(f"wrote {output}: {data}")


@app.command()
def train(
    data: Annotated[
        Path, typer.Argument(metavar="FILE", help="File of fields, see 'dvae inspect'.")
    ],
    output: Annotated[
        str, typer.Option(help="Folder for models, history and scores.", metavar="PATH")
    ] = "trained",
    model: Annotated[str, typer.Option(help="dense or pod.")] = "pod",
    prior: Annotated[
        str,
        typer.Option(
            help="standard, correlated, hierarchical, hierarchical-rectified, mixture, "
            "vamp (with pod) or flow."
        ),
    ] = "standard",
    recipe: Annotated[
        str,
        typer.Option(
            help="elbo (beta = 1 per sample, eq. 5, noise annealed), or one of the paper's "
            "experiments, with beta = 1 per node: annealed, calibrated, published, "
            "published-hierarchical; one-cycle or annealed-dense, for the dense model."
        ),
    ] = "elbo",
    beta: Annotated[
        float | None,
        typer.Option(
            help="Weight of the rate per sample (eq. 5) instead of the recipe's.",
            show_default=False,
        ),
    ] = None,
    latents: Annotated[
        int,
        typer.Option(
            help="Number of latent variables: as many as there are factors, if they are known."
        ),
    ] = 2,
    members: Annotated[int, typer.Option(help="Models to train at once.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first model.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Shorten or lengthen the recipe.", show_default="of the recipe; elbo: 6000"
        ),
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of samples kept for scores.")] = 0.2,
    label_fraction: Annotated[
        float, typer.Option(help="Share of training samples whose factors are used (eq. 28).")
    ] = 0.0,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV file 'sample,theta1,...': labelled samples, counted from 0. (If --factors "
            "knows all, --label-fraction.)"
        ),
    ] = None,
    raw_labels: Annotated[
        bool, typer.Option("--raw-labels", help="Do not standardise the labels.")
    ] = False,
    fields: Fields = None,
    factors: Factors = None,
    channels: Channels = None,
    orientation: Orientation = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Train VAEs on a data set, score them and store everything.

    A run that was interrupted goes on where it was when started again with the same arguments,
    and one that is complete is not repeated: what was lost of it is made again.
    """
    os.environ["MPLBACKEND"] = "agg"  # figures become files; a notebook's backend may not exist
    from dvae.workflow import train_file

    with _terminable():
        summary = train_file(
            data,
            output,
            model=cast(Literal["pod", "dense"], model),
            prior=prior,
            recipe=recipe,
            beta=beta,
            n_latents=latents,
            members=members,
            seed=seed,
            steps=steps,
            test_fraction=test_fraction,
            label_fraction=label_fraction,
            labels=labels,
            raw_labels=raw_labels,
            fields=fields,
            factors=factors,
            channels=cast(Any, channels),
            orientation=cast(Literal["ij", "reference"] | None, orientation),
            device=device,
            progress=not quiet,
        )
    typer.echo(summary)


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(metavar="FILE", help="File of fields.")],
    fields: Fields = None,
    factors: Factors = None,
    channels: Channels = None,
    orientation: Orientation = None,
) -> None:
    """What is in a file, and what 'dvae train' would do with it.

    HDF5, .npy, .npz, NetCDF, Zarr and MATLAB files. The exit code is 1 if 'dvae train' would
    not take the file with these options, and 2 if it cannot be read at all.
    """
    from dvae.workflow import inspect_file

    found = inspect_file(
        data,
        fields=fields,
        factors=factors,
        channels=cast(Any, channels),
        orientation=cast(Any, orientation),
    )
    typer.echo(found)
    if not found.trainable:
        raise typer.Exit(1)


@app.command()
def encode(
    folder: Run,
    data: Annotated[Path, typer.Argument(metavar="FILE", help="File of fields.")],
    output: Annotated[Path, typer.Option(help="CSV file to write.")] = LATENTS,
    member: Member = None,
    fields: Fields = None,
    channels: Channels = None,
    orientation: Orientation = None,
    force: Force = False,
) -> None:
    """Latents of fields by a trained model: mean and standard deviation for each sample.

    Without options the file is read like that of the training.
    """
    check_output(output, [data], suffixes=LATENTS_SUFFIXES, default=LATENTS, force=force)
    from dvae.workflow import load_run
    from dvae.workflow._summary import counted
    from dvae.workflow._tables import write_latents

    trained = load_run(folder, member)
    table = trained.encode(
        data, fields=fields, channels=cast(Any, channels), orientation=cast(Any, orientation)
    )
    write_latents(output, table)
    typer.echo(
        f"wrote {output}: {counted(len(table), 'sample')}, "
        f"{counted(trained.model.n_latents, 'latent')} of member {trained.member}"
    )


@app.command()
def decode(
    folder: Run,
    latents: Annotated[
        Path,
        typer.Argument(
            metavar="CSV", help="Table with columns z1, z2, ... of 'encode'; 'member' too."
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="File to write: .npz, key 'fields', or .nc (NetCDF).")
    ] = FIELDS,
    member: Annotated[
        int | None,
        typer.Option(
            help="Number of the model.",
            show_default="that of the latents, or that with the lowest loss",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Fields from latents by a trained model, in the units of its training data."""
    check_output(output, [latents], suffixes=FIELDS_SUFFIXES, default=FIELDS, force=force)
    from dvae.workflow import load_run
    from dvae.workflow._tables import latents_member

    trained = load_run(folder, latents_member(latents) if member is None else member)
    decoded = trained.decode(latents)
    trained.write_fields(output, decoded)
    typer.echo(f"wrote {output}: fields {decoded.shape} of member {trained.member}")


@app.command()
def report(
    folder: Run,
    output: Annotated[
        Path | None,
        typer.Option(help="HTML file to write.", show_default="report.html in the folder"),
    ] = None,
    force: Force = False,
) -> None:
    """One HTML page on a run: summary, scores and their meaning, figures; needs no network."""
    if output is not None:
        check_output(output, default=folder / REPORT, force=force)
    from dvae.workflow import load_run

    typer.echo(f"wrote {load_run(folder).report(output)}")


@app.command()
def run(
    experiment: Annotated[str | None, typer.Argument(help="Experiment, see 'dvae status'.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every experiment.")] = False,
    profile: Profile = "smoke",
    device: Device = "cpu",
    workers: Annotated[
        int | None, typer.Option(help="Worker processes (default: one per core).")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, e.g. tcp://host:8786.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Folder of results.")] = None,
    quiet: Quiet = False,
) -> None:
    """Compute what is missing of an experiment; what is stored is not computed again."""
    from dvae.experiments import EXPERIMENTS, find_experiment
    from dvae.runner import run_experiment, summarise

    if (experiment is None) == (not every):
        raise DataError("name one experiment, or give --all")
    if workers is not None and scheduler is not None:
        raise DataError("a scheduler has workers of its own; give --workers or --scheduler")
    place = _store(store, reading=False)
    names = list(EXPERIMENTS) if every else [find_experiment(str(experiment)).name]
    client = None
    executor = None
    if scheduler is not None:
        from dvae.cluster import connect

        client, executor = connect(scheduler)
    statuses = []
    try:
        for name in names:
            statuses.append(
                run_experiment(
                    name,
                    profile,
                    device=device,
                    workers=workers,
                    executor=executor,
                    store=place,
                    progress=not quiet,
                )
            )
    finally:
        if client is not None:
            client.close()
    typer.echo(summarise(statuses))
    for status in statuses:
        typer.echo(
            f"{status['experiment']}: computed {status['computed']} groups "
            f"in {status['seconds']:.0f} s"
        )
        for path in status["set_aside"]:
            typer.echo(f"  damaged file set aside: {path}")
        for group, error in status["failed"].items():
            typer.echo(f"  failed group {group}: {' '.join(error.split())}")
    if any(status["missing"] for status in statuses):
        raise typer.Exit(1)


@app.command()
def status(
    profile: Annotated[str | None, typer.Option(help="One profile; default all.")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder of results.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is stored, missing, failed, stale or damaged of every experiment and profile."""
    from dvae.experiments import EXPERIMENTS
    from dvae.results.trials import PROFILES, check_profile
    from dvae.runner import summarise

    profiles = PROFILES if profile is None else (check_profile(profile),)
    place = _store(store)
    statuses = [place.status(e, p) for e in EXPERIMENTS.values() for p in profiles]
    typer.echo(json.dumps(statuses, indent=2) if as_json else summarise(statuses))


@app.command()
def verify(
    experiment: Annotated[str, typer.Argument(help="Experiment.")],
    profile: Profile = "smoke",
    fraction: Annotated[float, typer.Option(help="Share of groups to recompute.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the choice of groups.")] = 0,
    device: Device = "cpu",
    store: Annotated[Path | None, typer.Option(help="Folder of results.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Recompute a sample of stored trials and compare with what is stored.

    Each group of trials is identical, equal within rounding, equal as statistics (training
    amplifies the last digit: then differences are compared with those between seeds, and the
    verdicts of claims) or different; the exit code is 1 if one is different.
    """
    from dvae.verification import verify_experiment

    report = verify_experiment(
        experiment,
        profile,
        fraction=fraction,
        seed=seed,
        device=device,
        store=_store(store),
        progress=not quiet,
    )
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        for entry in report:
            largest = entry["largest"]
            where = (
                ""
                if not largest
                else (f"largest relative difference {largest:.1e}, in {entry['variable']}; ")
            )
            typer.echo(f"{entry['trials']} trials: {entry['outcome']} ({where}{entry['reason']})")
    if any(entry["outcome"] == "different" for entry in report):
        raise typer.Exit(1)


@app.command()
def claims(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Rows, such as M1 M2.", show_default="all")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Folder of results.")] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="Of every finding its first sentence, and no scope.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What the paper claims, what was found here, and a verdict by rule."""
    from dvae.verdicts import decided_claims

    if brief and as_json:
        raise DataError("--json prints everything; leave --brief out")
    if store is not None:
        _check_store(store)
    decided = decided_claims(results_folder() if store is None else store, rows)
    if as_json:
        typer.echo(json.dumps(decided, indent=2))
        return
    if brief:
        from dvae.claims.words import first_part

        decided = [row | {"ours": first_part(row["ours"])[0], "scope": ""} for row in decided]
    for row in decided:
        typer.echo(f"{row['claim']:<4}{row['verdict']}")
        texts = {"paper: ": row["statement"], "here:  ": row["ours"], "scope: ": row["scope"]}
        for label, text in texts.items():
            if not text:
                continue
            typer.echo(textwrap.fill(text, 96, initial_indent=f"    {label}",
                                     subsequent_indent=" " * 11))  # fmt: skip
    counts = Counter(row["verdict"] for row in decided).most_common()
    typer.echo(", ".join(f"{n} {verdict}" for verdict, n in counts))


def _check_store(path: Path) -> None:
    """Raise DataError unless a folder is empty or holds results."""
    if not path.exists():
        raise DataError(f"--store {path}: there is no such folder; 'dvae run' makes one")
    if not path.is_dir():
        raise DataError(f"--store {path} is a file; a store is a folder of results")
    holds = (path / ".parts").exists() or any(path.glob("*/*.nc"))
    if not holds and any(path.iterdir()):
        raise DataError(
            f"--store {path} holds other things and no results, which lie in it as "
            "EXPERIMENT/PROFILE.nc; name another folder, or an empty one"
        )


def _store(path: Path | None, reading: bool = True):
    """The store of a folder, or the book's; one that is read must be there."""
    from dvae.results.store import Store

    if path is not None and reading:
        _check_store(path)
    return Store.default() if path is None else Store(path)


COMMANDS = app.registered_commands


def _format_warning(message, category, filename, lineno, line=None) -> str:
    """A warning in one line; those that are not for users say where they come from."""
    where = "" if category is UserWarning else f" ({category.__name__}, {filename}:{lineno})"
    return f"dvae: warning: {' '.join(str(message).split())}{where}\n"


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM (of ``kill``, or of a cluster) end a command as an interrupt does.

    Training waits for a whole checkpoint then (:func:`dvae.fit`), and temporary files go. In other
    threads than the main one, which alone may say what a signal does, nothing changes.
    """

    def end(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _no_memory(error: Exception) -> bool:
    """Whether an error says that memory was asked for and not given; torch has no type for it."""
    of_torch = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in of_torch)


def _command() -> str:
    """The first word of the command line that is no option."""
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


def main() -> None:
    """Entry point: errors in one line, with a traceback only under ``--debug``."""
    usual, warnings.formatwarning = warnings.formatwarning, _format_warning
    message = ""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.Abort:  # what older versions of typer make of an interrupt; newer ones its code
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code
    except DvaeError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        message, code = str(error), 2
    except USAGE_ERROR as error:
        commands = [one.name or getattr(one.callback, "__name__", "") for one in COMMANDS]
        page = " ".join(["dvae", *(name for name in [_command()] if name in commands), "--help"])
        message, code = f"{error.format_message().rstrip('.')}; see '{page}'", 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) or "--debug" in sys.argv:
            raise
        reason = error.strerror or type(error).__name__
        message = f"{error.filename}: {reason}" if error.filename else reason
        message, code = f"{message}; --debug shows where", 2
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error) or "--debug" in sys.argv:
            raise
        message, code = (
            f"there was not enough memory ({str(error).strip() or type(error).__name__}); use a "
            "machine or a limit with more, or fewer members or samples; --debug shows where",
            2,
        )
    finally:
        warnings.formatwarning = usual
    if code in (INTERRUPTED, TERMINATED):
        goes_on = _command() in ("train", "run")
        message = "interrupted; " + (
            "the same command goes on where it was" if goes_on else "nothing of it was stored"
        )
    if message:
        print(f"dvae: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
