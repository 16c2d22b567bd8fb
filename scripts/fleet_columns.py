"""Print the columns of `inspector scan` as Markdown, for docs/fleet.md.

fleet_columns.py [models|tensors]
"""

from __future__ import annotations

import sys

from inspector.fleet.columns import COLUMNS, TENSOR_COLUMNS, kind_words


def main() -> None:
    columns = TENSOR_COLUMNS if sys.argv[1:] == ["tensors"] else COLUMNS
    print("| column | type | what it is |\n|---|---|---|")
    for column in columns:
        print(f"| `{column.name}` | `{kind_words(column.kind)}` | {column.words} |")


if __name__ == "__main__":
    main()
