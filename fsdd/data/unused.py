"""Files that are in a folder and not in the set that is made of it: counted, and named in one line."""

import os
import pathlib

_NAMED = 5


class Unused:
    """Collects them, and what else there is to say of a folder."""

    def __init__(self, root: pathlib.Path):
        """Of what is in `root`."""
        self.root = root
        self.name = root.resolve().name
        self._reasons: dict[pathlib.Path, str] = {}
        self._lines: list[str] = []

    def add(self, path: pathlib.Path, reason: str = "") -> None:
        """A file, or a folder with all its files, is not used, for a reason such as "no label"."""
        self._reasons[path] = reason

    def use(self, path: pathlib.Path) -> None:
        """A file that was said to be of no use has one."""
        self._reasons.pop(path, None)

    def say(self, line: str) -> None:
        """Something else to tell of the folder."""
        self._lines.append(f"{self.name}: {line}")

    def notes(self) -> tuple[str, ...]:
        """What was said, and one line on all that is not used, if anything."""
        groups: dict[str, list[str]] = {}
        counts: dict[str, int] = {}
        for path, reason in self._reasons.items():
            shown = path.relative_to(self.root).as_posix()
            # Files of one suffix and reason are named by the first of them.
            key = f"{shown}/" if path.is_dir() else f"*{path.suffix.lower()} {reason}"
            shown = f"{shown}{'/' * path.is_dir()}"
            groups.setdefault(key, []).append(f"{shown} ({reason})" if reason else shown)
            counts[key] = counts.get(key, 0) + (count_files(path) if path.is_dir() else 1)
        total = sum(counts.values())
        if not total:
            return tuple(self._lines)
        parts = []
        for key in [key for key in groups if counts[key]][:_NAMED]:
            more = f" and {counts[key] - 1} more" * (counts[key] > 1)
            parts.append(f"{groups[key][0]}{more}" if key.startswith("*") else f"{counts[key]} in {groups[key][0]}")
        rest = total - sum(counts[key] for key in [key for key in groups if counts[key]][:_NAMED])
        line = f"{total} {'files are' if total > 1 else 'file is'} not used: {', '.join(parts)}"
        return (*self._lines, f"{self.name}: {line}{f', {rest} others' * bool(rest)}")


def count_files(folder: pathlib.Path) -> int:
    """Files in a folder and its sub-folders, hidden ones apart; links to folders are not followed."""
    return sum(not name.startswith(".") for _, _, names in os.walk(folder) for name in names)
