"""Loss curves of a run, as CSV, as TensorBoard events, and where further loggers take them."""

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from protgen.atomic import sync, write_text
from protgen.documents import read_table, whole_number_in
from protgen.errors import DocumentError, RecoveredWarning
from protgen.training.loggers import Logger


class LossCurve:
    """Loss curves as CSV and TensorBoard events; a resumed run goes on in the same CSV.

    Args:
        run: folder of the run.
        start: step from which a resumed run goes on; later lines of the CSV are taken out.
        loggers: that take each point too.

    Raises:
        OSError: if the CSV cannot be written.
    """

    def __init__(self, run: Path, start: int, loggers: Sequence[Logger] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.loggers = run / "losses.csv", loggers
        self.rows = rows_until(self.path, start) if start else []
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1 if start else None)
        self.fields: list[str] = list(self.rows[0]) if self.rows else []
        if self.rows:
            self._rewrite()
        else:
            self.path.unlink(missing_ok=True)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the CSV and one point of each curve.

        Raises:
            OSError: if the CSV cannot be written.
        """
        row = {"step": str(step)} | {k: f"{v:.6g}" for k, v in values.items()}
        new = [key for key in row if key not in self.fields]
        self.rows.append(row)
        self.fields += new
        if new or not self.path.is_file():
            self._rewrite()
        else:
            with self.path.open("a", newline="") as out:
                csv.DictWriter(out, self.fields).writerow(row)
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)
        for logger in self.loggers:
            logger.add(step, values)

    def close(self, failed: bool) -> None:
        """Nothing more comes.

        Args:
            failed: whether the run ended by an error.
        """
        self.writer.close()
        for logger in self.loggers:
            logger.close(failed)

    def sync(self) -> None:
        """Wait until all rows are on the disk: a checkpoint must not be newer than its curve."""
        if self.path.is_file():
            sync(self.path)

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, self.fields)
        table.writeheader()
        table.writerows(self.rows)
        write_text(self.path, text.getvalue())


def rows_until(path: Path, last: int) -> list[dict[str, str]]:
    """The rows of a loss curve up to a step; of a file that cannot be read none, with a warning."""
    if not path.is_file():
        return []
    try:
        rows = read_table(path)
    except DocumentError as error:
        warnings.warn(f"{error}; the loss curve begins anew", RecoveredWarning, stacklevel=2)
        return []
    kept, before = [], 0
    for row in rows:
        try:
            step = whole_number_in(row.get("step", ""))
        except ValueError:
            break
        if not before <= step <= last:  # a step that falls is one whose digits were cut by a kill
            break
        kept.append(row)
        before = step
    return kept
