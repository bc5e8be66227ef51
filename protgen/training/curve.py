"""Loss curves of a run, as CSV and as TensorBoard events."""

import csv
from collections.abc import Mapping
from pathlib import Path


class LossCurve:
    """Loss curves as CSV and TensorBoard events; a resumed run goes on in the same CSV.

    Args:
        run: folder of the run.
        start: step from which a resumed run goes on; later lines of the CSV are left out.
    """

    def __init__(self, run: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "losses.csv"
        self.rows = []
        if self.path.is_file() and start:
            with self.path.open(newline="") as lines:
                self.rows = [row for row in csv.DictReader(lines) if int(row["step"]) <= start]
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=start or None)
        self.fields: list[str] = list(self.rows[0]) if self.rows else []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the CSV and one point of each curve."""
        row = {"step": str(step)} | {k: f"{v:.6g}" for k, v in values.items()}
        new = [key for key in row if key not in self.fields]
        self.rows.append(row)
        self.fields += new
        rewrite = bool(new) or not self.path.is_file() or len(self.rows) == 1
        with self.path.open("w" if rewrite else "a", newline="") as out:
            table = csv.DictWriter(out, self.fields)
            if rewrite:
                table.writeheader()
            table.writerows(self.rows if rewrite else [row])
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)
