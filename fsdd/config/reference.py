"""The reference of all fields, from their table: for `--help`, and as Markdown for configs/README.md.

python -m fsdd.config.reference             # prints the Markdown
python -m fsdd.config.reference --write     # puts it into configs/README.md, between its markers
"""

import pathlib
import sys
import textwrap
from collections.abc import Iterable

from fsdd.config.fields import BUDGETS, PROTOCOLS, ByBudget, ByProtocol, Field
from fsdd.config.registry import methods, stages
from fsdd.config.table import table

PAGE = pathlib.Path(__file__).parents[2] / "configs" / "README.md"
_BEGIN, _END = "<!-- fields -->\n", "<!-- end -->"
_ESCAPED = r"\|"
# At which the table of budgets shows what these fill.
_IMAGES = (1, 4, 10, 50)


def as_text(width: int = 100) -> str:
    """All fields for a terminal."""
    lines = ["Fields, each with its default:", ""]
    for name, field in table().items():
        text = f"{field.meaning} Allowed: {field.values.words}."
        lines.append(f"  --config.{name}={_default(field)}")
        lines += textwrap.wrap(text, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def as_markdown() -> str:
    """All fields, methods, protocols and budgets as Markdown tables."""
    fields = [
        (f"`{name}`", _code(_default(field)), field.values.words, field.meaning) for name, field in table().items()
    ]
    lines = _table(("field", "default", "allowed", "meaning"), fields)
    orders = [(f"`{name}`", ", ".join(order) or "none: real images as they are") for name, order in methods().items()]
    lines += ["", *_table(("method", "stages"), orders)]
    summaries = [(f"`{stage.name}`", stage.summary) for stage in stages().values()]
    lines += ["", *_table(("stage", "what it does"), summaries)]
    filled = [
        (f"`{name}`", *(_code(str(field.default.value(protocol))) for protocol in PROTOCOLS))
        for name, field in table().items()
        if isinstance(field.default, ByProtocol)
    ]
    lines += ["", "What protocols fill where a config leaves it open:", "", *_table(("field", *PROTOCOLS), filled)]
    budgeted = [
        (f"`{name}`", budget, *(_code(str(field.default.value(budget, images))) for images in _IMAGES))
        for name, field in table().items()
        if isinstance(field.default, ByBudget)
        for budget in BUDGETS
    ]
    lines += ["", "What budgets fill where a config leaves it open, by the images per class that networks see:", ""]
    lines += _table(("field", "budget", *map(str, _IMAGES)), budgeted)
    return "\n".join(lines)


def write(path: pathlib.Path = PAGE) -> None:
    """Put the Markdown between the markers of a page."""
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the markers {_BEGIN.strip()} and {_END}")
    path.write_text(f"{before}{_BEGIN}{as_markdown()}\n{_END}{after}")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(cell.replace('|', _ESCAPED) for cell in row)} |" for row in (head, *rows)]
    return [lines[0], "|---" * len(tuple(head)) + "|", *lines[1:]]


def _default(field: Field) -> str:
    if isinstance(field.default, ByProtocol):
        return "by protocol"
    if field.default is None:
        return "none" if field.optional else "from other fields"
    return str(field.default)


def _code(text: str) -> str:
    return f"`{text}`" if text else "nothing"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        print(as_markdown())
