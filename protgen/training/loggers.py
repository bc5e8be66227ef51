"""Where the curves of a run go beside `losses.csv` and TensorBoard: Weights & Biases and MLflow, by name.

Each is imported when a run asks for it. What a resumed run needs to go on in the same place is in `loggers.json` of
the run. An interrupted run that is resumed passes its last steps again, with the same values; a logger takes each step
once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from protgen.errors import CheckpointError, UsageError
from protgen.models.files import load_json, save_json
from protgen.registry import nearest
from protgen.types import JSON

FILE = "loggers.json"
PROJECT = "protgen"


class Logger(ABC):
    """A place for curves.

    Attributes:
        identity: under which it knows the run.
    """

    identity: str

    @abstractmethod
    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve.

        Args:
            step: steps done.
            values: by name of the curve.
        """

    @abstractmethod
    def close(self, failed: bool) -> None:
        """The run has ended.

        Args:
            failed: whether by an error.
        """


class WandbLogger(Logger):
    """Weights & Biases; `WANDB_MODE=offline` and its other variables hold.

    Args:
        run: folder of the run; files of W&B go to its `wandb/`.
        settings: of the run, shown beside its curves.
        identity: of the run that is resumed; None for a new one.
    """

    def __init__(self, run: Path, settings: JSON, identity: str | None) -> None:
        self.wandb = imported("wandb")
        self.run = self.wandb.init(
            project=PROJECT, name=run.name, dir=str(run), config=settings, id=identity, resume="allow"
        )
        self.identity = str(self.run.id)
        self.last = int(getattr(self.run, "step", 0) or 0)  # the next step it takes

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        # Steps below those it has are refused by W&B, with a warning for each.
        if step >= self.last:
            self.run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        """The run has ended."""
        self.run.finish(exit_code=int(failed))


class MlflowLogger(Logger):
    """MLflow; `MLFLOW_TRACKING_URI` and its other variables hold.

    Args:
        run: folder of the run.
        settings: of the run, shown beside its curves.
        identity: of the run that is resumed; None for a new one.
    """

    def __init__(self, run: Path, settings: JSON, identity: str | None) -> None:
        self.mlflow = imported("mlflow")
        self.client = self.mlflow.MlflowClient()
        self.last: dict[str, int] = {}
        if identity is None:
            self.mlflow.set_experiment(PROJECT)
            self.mlflow.start_run(run_name=run.name)
            self.mlflow.log_params(flat(settings))
        else:
            self.mlflow.start_run(run_id=identity)
        self.identity = str(self.mlflow.active_run().info.run_id)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        new = {name: value for name, value in values.items() if step > self.reached(name)}
        if new:
            self.mlflow.log_metrics(new, step=step)
        self.last |= {name: step for name in new}

    def reached(self, name: str) -> int:
        """The last step that a curve has; -1 for a new curve."""
        if name not in self.last:
            points = self.client.get_metric_history(self.identity, name)
            self.last[name] = max((point.step for point in points), default=-1)
        return self.last[name]

    def close(self, failed: bool) -> None:
        """The run has ended."""
        self.mlflow.end_run("FAILED" if failed else "FINISHED")


LOGGERS: Mapping[str, Callable[[Path, JSON, str | None], Logger]] = {"mlflow": MlflowLogger, "wandb": WandbLogger}


def imported(name: str) -> Any:
    """The package of a logger.

    Raises:
        UsageError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"logger={name} needs {name}, not installed here: pip install 'protgen[{name}]'") from None


def require_loggers(names: Sequence[str], run: Path | None) -> None:
    """Check that loggers exist and their packages are installed.

    Raises:
        UsageError: if they do not, or there is no run folder.
    """
    for name in names:
        if name not in LOGGERS:
            raise UsageError(f"no logger {name!r}: {nearest(name, list(LOGGERS))}")
        if run is None:
            raise UsageError(f"logger={name} needs a run folder; give run=")
        imported(name)


def open_loggers(names: Sequence[str], run: Path, settings: JSON) -> list[Logger]:
    """The loggers of a run, which go on where those of an interrupted one ended.

    Args:
        names: of loggers.
        run: folder of the run.
        settings: of the run.

    Raises:
        UsageError: if one cannot be opened.
    """
    if not names:
        return []
    path = run / FILE
    try:
        before = load_json(path) if path.is_file() else {}
    except CheckpointError as error:
        raise UsageError(f"{error}; or remove it, and the curves begin anew") from None
    found: list[Logger] = []
    for name in names:
        identity = before.get(name)
        try:
            found.append(LOGGERS[name](run, settings, None if identity is None else str(identity)))
        except UsageError:
            raise
        except Exception as error:  # whatever a package of others raises: no account, no network, no such run
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UsageError(f"logger={name} cannot begin: {reason}; see its manual, or leave it out") from error
    save_json(before | {name: logger.identity for name, logger in zip(names, found, strict=True)}, path)
    return found


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings as words by dotted names, which MLflow takes up to 500 characters."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: str(value)[:500]}
    return found
