"""The reference of all fields, from their table: for `--help`, and as Markdown for configs/README.md.

python -m fsdd.config.reference     # prints the Markdown
"""

import textwrap

from fsdd.config.fields import PROTOCOLS, ByPlatform, ByProtocol, Field
from fsdd.config.stages import methods, stages
from fsdd.config.table import table


def as_text(width: int = 100) -> str:
    """All fields for a terminal."""
    lines = ["Fields, each with its default:", ""]
    for name, field in table().items():
        text = f"{field.meaning} Allowed: {field.values.words}."
        lines.append(f"  --config.{name}={_default(field)}")
        lines += textwrap.wrap(text, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def as_markdown() -> str:
    """All fields, methods and protocols as Markdown tables."""
    lines = ["| field | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in table().items():
        lines.append(f"| `{name}` | {_code(_default(field))} | {field.values.words} | {field.meaning} |")
    lines += ["", "| method | stages |", "|---|---|"]
    for name, order in methods().items():
        lines.append(f"| `{name}` | {', '.join(order) or 'none: real images as they are'} |")
    lines += ["", "| stage | what it does |", "|---|---|"]
    lines += [f"| `{stage.name}` | {stage.summary} |" for stage in stages().values()]
    lines += ["", "What protocols fill where a config leaves it open:", ""]
    lines += ["| field | " + " | ".join(PROTOCOLS) + " |", "|---" * (1 + len(PROTOCOLS)) + "|"]
    for name, field in table().items():
        if isinstance(field.default, ByProtocol):
            filled = [_code(str(field.default.value(protocol))) for protocol in PROTOCOLS]
            lines.append(f"| `{name}` | {' | '.join(filled)} |")
    return "\n".join(lines)


def _default(field: Field) -> str:
    if isinstance(field.default, ByProtocol):
        return "by protocol"
    if isinstance(field.default, ByPlatform):
        return f"{field.default.cpu} on CPU, else {field.default.accelerator}"
    if field.default is None:
        return "none" if field.optional else "from other fields"
    return str(field.default)


def _code(text: str) -> str:
    return f"`{text}`" if text else "nothing"


if __name__ == "__main__":
    print(as_markdown())
