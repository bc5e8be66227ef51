"""The `protgen` command: its sub-commands, and errors as one line and an exit code."""

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from protgen.cli import (
    check,
    classify,
    data,
    design_sequences,
    doctor,
    download,
    encode,
    evaluate,
    evaluate_images,
    interpolate,
    models,
    reconstruct,
    sample,
    sample_images,
    status,
    train,
)
from protgen.cli import run as run_command
from protgen.cli.console import own_warnings, say_error
from protgen.cli.exit_codes import ALL_FAILED, DONE, INTERNAL, INTERRUPTED, USAGE
from protgen.cli.interruption import Interrupted, interruptible
from protgen.cli.numbers import with_plain_numbers
from protgen.errors import AllFailedError, ProtgenError

app = typer.Typer(
    name="protgen",
    help="Generate protein structures under constraints, evaluate them, and train on your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("sample")(sample.sample)
app.command("status")(status.status)
app.command("check")(check.check)
app.command("design-sequences")(design_sequences.design_sequences)
app.command("run")(run_command.run)
app.command("evaluate")(evaluate.evaluate)
app.command("sample-images")(sample_images.sample_images)
app.command("evaluate-images")(evaluate_images.evaluate_images)
app.command("encode")(encode.encode)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("interpolate")(interpolate.interpolate)
app.command("classify")(classify.classify)
data.app.command("download")(download.download)
app.add_typer(data.app, name="data")
app.command("train", context_settings=train.CONTEXT)(train.train)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)

# The base of every error the option parser raises; typer carries click within itself in newer releases.
_ParserError = typer.BadParameter.__mro__[2]


def show_version(value: bool) -> None:
    """Print the version and leave."""
    if value:
        import protgen

        typer.echo(f"protgen {protgen.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of `protgen` itself."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; prints at most one line of error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that its encoding does not have is no reason to say nothing
            stream.reconfigure(errors="backslashreplace")
    try:
        with interruptible(), own_warnings():
            command = with_plain_numbers(typer.main.get_command(app))
            result = command(args=list(arguments), prog_name="protgen", standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except AllFailedError as error:
        say_error(str(error))
        return ALL_FAILED
    except ProtgenError as error:
        say_error(str(error))
        return USAGE
    except Interrupted as interruption:
        say_error(interruption.message)
        return interruption.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say_error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        return _explain(error, arguments[0])


def _explain(error: Exception, command: str) -> int:
    """A mistake on the command line, or a bug of ours."""
    if isinstance(error, _ParserError):
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # type: ignore[attr-defined]
            return USAGE
        say_error(f"{error.format_message()} (--help lists the options)")  # type: ignore[attr-defined]
        return USAGE
    if os.environ.get("PROTGEN_DEBUG"):
        raise error
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "can't allocate memory" in str(error):
        say_error(f"not enough memory; {_less_memory(command, on_gpu=kind == 'OutOfMemoryError')}")
        return USAGE
    package = _plugin_of(error)
    if package is not None:
        say_error(f"the plug-in package {package} failed: {kind}: {error} (PROTGEN_DEBUG=1 shows where)")
        return USAGE
    say_error(f"internal error, please report it: {kind}: {error} (PROTGEN_DEBUG=1 shows where)")
    return INTERNAL


def _less_memory(command: str, *, on_gpu: bool) -> str:
    """What of a command's options takes less memory; on a CPU each design is a batch of its own."""
    if command == "train":
        return "lower train.max_pairs_per_batch (of images, data.batch), or take a smaller network"
    if command in ("sample", "run", "check"):
        by = "--batch-size" if on_gpu else "OMP_NUM_THREADS"
        return f"ask for shorter chains, or make fewer designs at a time by a lower {by}"
    return "give fewer or smaller files, or less --jobs where the command has it"


def _plugin_of(error: Exception) -> str | None:
    """The plug-in package whose code failed, if it was one."""
    from protgen.registry import blamed

    return blamed(error)


def main() -> None:
    """Entry point of the `protgen` script."""
    code = run(sys.argv[1:])
    gc.collect()
    gc.freeze()  # or the interpreter goes through all that torch has made several times more as it ends: half a second
    sys.exit(code)
