"""Tables in text files: signs are found or told, cells stay texts."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO

from backprop_svc.datasets.reading import Reading
from backprop_svc.datasets.sniff import BLANKS, find_header, find_signs
from backprop_svc.datasets.table import Table
from backprop_svc.errors import SettingError, counted, printable, shortened, shown

BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""What a file of Unicode may begin with; UTF-8 is tried anyway."""
END = " \r\n\x1a"
"""Behind the last cell: blanks, empty lines and DOS's mark of the end."""
LARGEST_BLOCK = 1 << 30
"""Bytes that are parsed at once: a row has to fit."""


def read_text(data: bytes, source: str, reading: Reading, *, ending: str = "") -> Table:
    """Read a text file with a row in each line, all cells as texts.

    Raises
    ------
    SettingError
        It is no text, has rows of different length, or could be read in several ways.
    """
    text = _decoded(data, source, reading.encoding)
    text = f"{text.rstrip(END)}\n"
    if not text.strip():
        raise SettingError(source, "empty", "a table with a header", "choose another file")
    first, told = 0, reading.delimiter
    separator = re.match(r"sep=(.)\r?\n", text)
    if separator:
        # Excel tells its delimiter so.
        first, told = 1, told or separator[1]
    header = reading.header
    if header is not None and not isinstance(header, bool):
        first = header - 1
    starts = [0]
    if first:
        starts += [found.end() for found in re.finditer(r"\r\n|\n|\r", text)]
        starts = [start for start in starts if start < len(text)]
    if first >= len(starts):
        count = counted(len(starts), "line")
        raise SettingError(
            "data.header", f"{header}, and {source} has {count}", "a line of the file",
            "correct it",
        )  # fmt: skip
    text = text[starts[first] :]
    delimiter, quote = find_signs(
        text, source, told, reading.quote, ending=ending, before=first
    )
    body = _Body(text, first, delimiter, quote, source)
    columns = body.parse()
    names = [str(column[0].as_py()).strip() for column in columns]
    if find_header(columns, header, source, body.line):
        columns = [column.slice(1) for column in columns]
        body.skipped = 1
    else:
        names = [f"f{number}" for number in range(len(columns))]
    while names and not names[-1] and _is_empty(columns[-1]):
        # Every line ends with a delimiter.
        names, columns = names[:-1], columns[:-1]
    return Table(tuple(names), tuple(columns), source, line=body.line, delimiter=delimiter)


def _decoded(data: bytes, source: str, encoding: str | None) -> str:
    told = encoding
    if encoding is None:
        encoding = next((name for mark, name in BOMS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if told is None and b"\0" in data:
            raise _no_text(data, source) from None
        line = data[: error.start].count(b"\n") + 1
        raise SettingError(
            source, f"no {encoding.upper()} text (in line {line})",
            "UTF-8, or another encoding that is told",
            "write data.encoding=latin-1 or cp1252, say",
        ) from None  # fmt: skip
    except (LookupError, UnicodeError, ValueError):
        raise SettingError(
            "data.encoding", shown(told), "names of encodings, such as utf-8 and latin-1",
            "correct it",
        ) from None  # fmt: skip
    if "\0" in text:
        raise _no_text(data, source)
    return text.removeprefix("\ufeff")


def _no_text(data: bytes, source: str) -> SettingError:
    line = data[: data.index(b"\0")].count(b"\n") + 1
    return SettingError(
        source, f"no text: line {line} has a byte of value 0",
        "text files, or files of Parquet, Arrow or NumPy",
        "repair it, or write data.encoding=utf-16-le, if it is that",
    )  # fmt: skip


class _Body:
    """The lines of a table, from its header on."""

    def __init__(self, text: str, before: int, delimiter: str, quote: str, source: str) -> None:
        self._text, self._before, self._source = text, before, source
        self._delimiter, self._quote = delimiter, quote
        self.skipped = 0
        """Rows before the first row of data: the header."""

    def parse(self) -> list:  # type: ignore[type-arg]
        """Return the columns of all rows, the header among them."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        text, delimiter = self._text, self._delimiter
        if delimiter == BLANKS:
            text, delimiter = self._with_tabs(), "\t"
        data = text.encode(errors="surrogatepass")
        try:
            table = arrow.read_csv(
                pa.BufferReader(data),
                read_options=arrow.ReadOptions(
                    autogenerate_column_names=True,
                    block_size=min(len(data) + 1, LARGEST_BLOCK),
                ),
                parse_options=arrow.ParseOptions(
                    delimiter=delimiter, quote_char=self._quote, newlines_in_values=True
                ),
                convert_options=arrow.ConvertOptions(
                    column_types=dict.fromkeys(self._names(), pa.string()),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowException as error:
            self._refuse_open_quote()
            raise self._ragged() or self._unreadable(str(error)) from None
        if "\n" in str(table.columns[-1][-1].as_py()):
            self._refuse_open_quote()
        return list(table.columns)

    def _names(self) -> list[str]:
        """Return what Arrow calls the columns of a file without a header."""
        first = next(self._records(), (0, []))[1]
        return [f"f{column}" for column in range(len(first))]

    def line(self, row: int) -> int:
        """Return the line in which a row begins, counted from 1."""
        for number, (line, _) in enumerate(self._records()):
            if number == row + self.skipped:
                return line
        raise IndexError(row)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each row with its first line; much slower than Arrow."""
        text = self._with_tabs() if self._delimiter == BLANKS else self._text
        delimiter = "\t" if self._delimiter == BLANKS else self._delimiter
        rows = csv.reader(
            StringIO(text, newline=""), delimiter=delimiter, quotechar=self._quote
        )
        before = self._before
        while True:
            begin = before + rows.line_num + 1
            try:
                row = next(rows)
            except (StopIteration, csv.Error):
                return
            if row:
                yield begin, row

    def _ragged(self) -> SettingError | None:
        """Return an error for the first row with another number of cells than the header."""
        records = self._records()
        first, header = next(records)
        for line, row in records:
            if len(row) != len(header):
                count = counted(len(row), "value")
                return SettingError(
                    self._source,
                    f"{count} in line {line}, and {len(header)} in line {first}",
                    "as many in each line",
                    f"correct the line, or write data.delimiter=… if it is not "
                    f"{shown(self._delimiter)}",
                    verb="has",
                )
        return None

    def _unreadable(self, reason: str) -> SettingError:
        return SettingError(
            "data.path",
            f"{self._source!r}, which cannot be read: "
            f"{shortened(printable(' '.join(reason.split())))}",
            "a text file with one row in each line and a header",
            "repair it",
        )

    def _refuse_open_quote(self) -> None:
        rows = csv.reader(
            StringIO(self._text, newline=""), delimiter=self._delimiter,
            quotechar=self._quote, strict=True,
        )  # fmt: skip
        begin = 0
        try:
            for _ in rows:
                begin = rows.line_num
        except csv.Error:
            raise SettingError(
                self._source,
                f"a quote {self._quote} in line {self._before + begin + 1} that is not closed",
                "quotes in pairs",
                "close it, or write data.quote=… if it is no quote",
                verb="has",
            ) from None

    def _with_tabs(self) -> str:
        """Return the text with one tab instead of any number of blanks between cells."""
        lines = StringIO(self._text)
        rows = csv.reader(
            (line.replace("\t", " ").strip() for line in lines),
            delimiter=" ", quotechar=self._quote, skipinitialspace=True,
        )  # fmt: skip
        out = StringIO()
        csv.writer(out, delimiter="\t", quotechar=self._quote, lineterminator="\n").writerows(
            rows
        )
        return out.getvalue()


def _is_empty(column) -> bool:  # type: ignore[no-untyped-def]
    import pyarrow.compute as pc

    return not pc.any(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py()
