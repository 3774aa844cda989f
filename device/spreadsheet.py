"""Tables for people who open them in a spreadsheet: CSV as Excel reads it, and XLSX. No cell is ever a formula.

Used by `doorctl journal export` and by the hub's exports. What stands in a cell may come from a stranger's card, name
or QR code; a text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from device.errors import TerminalError, UsageError

Cell = str | int | float | bool | None
MOST_ROWS = 1_048_575  # a sheet's, less the heading
MOST_TEXT = 32_000
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ExportFailed(TerminalError, OSError):
    """The file could not be written; what was there before is as it was."""


def write_table(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    """How many rows were written to `path`, a .csv or .xlsx file that appears whole or not at all.

    UsageError for another ending; ExportFailed where it cannot be written or the rows are too many for a sheet.
    """
    writers = {".csv": _write_csv, ".xlsx": _write_xlsx}
    if path.suffix.lower() not in writers:
        raise UsageError(f"{path.name}: name a file that ends in .csv or .xlsx")
    fresh = path.with_name(f".{path.name}.new")
    try:
        count = writers[path.suffix.lower()](fresh, heading, rows)
        fresh.replace(path)
    except OSError as error:
        raise ExportFailed(f"{path}: {error.strerror or error}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return count


def safe(cell: Cell) -> Cell:
    """The cell as it may stand in a sheet."""
    if not isinstance(cell, str):
        return cell
    text = "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in cell[:MOST_TEXT])
    return f"'{text}" if cell.startswith(_STARTS) else text


def _write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    count = 0
    # Excel takes a file for UTF-8 only where a mark at its beginning says so.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        for count, row in enumerate(rows, 1):  # noqa: B007
            writer.writerow([safe(cell) for cell in row])
        file.flush()
        os.fsync(file.fileno())
    return count


def _write_xlsx(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    book = Workbook(write_only=True)
    sheet = book.create_sheet("journal")
    sheet.freeze_panes = "A2"
    titles = [WriteOnlyCell(sheet, title) for title in heading]
    for title in titles:
        title.font = Font(bold=True)
    sheet.append(titles)
    count = 0
    for count, row in enumerate(rows, 1):
        if count > MOST_ROWS:
            raise ExportFailed(f"more than {MOST_ROWS} rows do not fit into a sheet; export less at a time (--since, "
                               "--until), or a .csv file")
        cells = [WriteOnlyCell(sheet, safe(cell)) for cell in row]
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # a text, whatever it begins with
        sheet.append(cells)
    book.save(path)
    return count
