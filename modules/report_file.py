"""Reports that are files of artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from modules.errors import DataError
from modules.files import write_whole


class ReportFile(BaseModel):
    """A report with a file of its own, FILE, in an artifact's folder; figures that cannot be known are "NaN" there."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())
    FILE: ClassVar[str]

    def write(self, folder: str | Path) -> None:
        """Writes the file into a folder, whole or not at all."""
        write_whole(Path(folder) / self.FILE, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Reads what `write` wrote.

        Raises:
          DataError: there is no such file.
        """
        path = Path(folder) / cls.FILE
        if not path.is_file():
            raise DataError(f"expected {cls.FILE} in {folder}, found none; run the pipeline again")
        return cls.model_validate_json(path.read_bytes())
