"""What the programs do alike: refuse in one line, write where they may, and let a reader leave."""

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from jaxml.data import DataError, Table, load_table
from training.options import CSV, in_options

CONVERGED, NOT_CONVERGED, REFUSED = 0, 1, 2


def in_words(program: str, run: Callable[[], int]) -> int:
    """The exit code of a run; what it refuses becomes one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to lose a fit
    try:
        return run()
    except (DataError, ImportError, MemoryError, OSError) as error:
        print(f"{program}: {in_options(str(error))}", file=sys.stderr)
        return REFUSED


def stop_at_once() -> None:
    """Ctrl-C ends the program, where a compiled loop would hold it until its end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_table(source: str, options: argparse.Namespace) -> Table:
    """A file or a data set by name, read as the options say."""
    return load_table(source, labels=options.labels, **{name: getattr(options, name) for name in CSV})


class OutputConsole(Console):
    """A console whose reader may leave."""

    def on_broken_pipe(self) -> None:  # which would end the program with an exit code of its own
        raise BrokenPipeError


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """Where the reader of the output has seen enough, as ``head`` has, the rest goes nowhere."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_folder(name: str) -> Path:
    """The folder of the fit, made before the work starts, since it may not be possible."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise DataError(f"cannot write to the folder {folder}: {error.strerror}") from None
