"""Pages about what the registry holds, made from docstrings: docs/methods.md and docs/extractors.md."""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.registry import entry_class, load
from pipeline.report.pages import environment
from pipeline.report.quantity import Quantity

_ARGUMENT = re.compile(r"^(\w+): ", re.MULTILINE)


def methods_page(sections: Sequence[str]) -> str:
    """docs/methods.md."""
    return environment(escape=False).get_template("methods.md.j2").render(sections=sections)


def extractors_page(sections: Sequence[str], speeds: Mapping[str, dict[str, Any]]) -> str:
    """docs/extractors.md; `speeds` as in `speed_table`."""
    page = environment(escape=False).get_template("extractors.md.j2")
    return page.render(sections=sections, speeds=speed_table(speeds))


def method_section(name: str, rows: Mapping[str, dict[str, Any]]) -> str:
    """One method: what its docstring says, and its rows of the demo study.

    Args:
        name: module in pipeline/methods.
        rows: of the table, by name: regime, parameters, macs and auilc (or not_applicable).
    """
    lines = _opening("methods", name)
    if rows:
        lines += ["| row | regime | parameters | MACs | demo AUILC (UAR) |", "|---|---|---:|---:|---:|"]
        lines += [_score_line(row, facts) for row, facts in sorted(rows.items())]
        lines.append("")
    return "\n".join(lines)


def extractor_section(name: str) -> str:
    """One extractor: what its docstring says, what it reads, its weights and its options."""
    module = load("extractors", name)
    entry = entry_class(module, "extract")
    lines = _opening("extractors", name)
    reads = "ids only, of any stream" if entry.stream == "any" else f"the decoded stream `{entry.stream}`"
    lines.append(f"- **Reads**: {reads}{'; gives tokens beside the features' if entry.has_tokens else ''}.")
    lines.append(f"- **Weights**: {_weights(entry.checkpoint)}.")
    said = _arguments(module.Options)
    for option, field in module.Options.model_fields.items():
        default = json.dumps(field.default, default=str)
        lines.append(f"- `{option}` ({default}): {said.get(option, '')}")
    return "\n".join([*lines, ""])


def speed_table(found: Mapping[str, dict[str, Any]]) -> str:
    """What `make bench` measured, as Markdown.

    Args:
        found: by extractor, the figures of docs/extraction_speed.json.
    """
    lines = [
        "| extractor | clips | clips/s | hours of media per hour | loop (s) | decode + extract (s) | times faster "
        "| extract (s) | times faster | machine |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, figures in sorted(found.items()):
        rates = f"{figures['clips_per_second']} | {figures['hours_per_hour']:,.0f}"
        lines.append(
            f"| {name} | {figures['clips']:,} | {rates} | {figures['loop_seconds']} | {figures['seconds']} | "
            f"{figures['ratio']:.2f} | {figures['extraction_seconds']} | {figures['extraction_ratio']:.2f} | "
            f"{figures['device']}, {figures['machine']} |"
        )
    return "\n".join([*lines, ""])


def prose(text: str) -> list[str]:
    """Paragraphs; each of Follows, Differs, Handles absence by starts a point of its own."""
    paragraphs = re.split(r"\n\n|\n(?=(?:Follows|Differs|Handles absence by)\b)", text.strip())
    flat = [" ".join(paragraph.split()) for paragraph in paragraphs]
    return [re.sub(r"^(Follows|Differs|Handles absence by):?", r"- **\1**:", paragraph) for paragraph in flat]


def _opening(kind: str, name: str) -> list[str]:
    idea, _, rest = (load(kind, name).__doc__ or "").strip().partition("\n\n")
    lines = [f"## {name}", "", " ".join(idea.split()), ""]
    for paragraph in prose(rest) if rest else ():
        lines += [paragraph] if paragraph.startswith("- ") else [paragraph, ""]
    return lines if lines[-1] == "" else [*lines, ""]


def _weights(checkpoint: Any) -> str:
    if checkpoint is None:
        return "none"
    files = f"a folder with {', '.join(f'`{file}`' for file in checkpoint.files)}" if checkpoint.files else "one path"
    packaged = "; `null` takes those of the package" if checkpoint.packaged else ""
    untrained = "; or `random`" if checkpoint.random else ""
    return f"{checkpoint.model}, {checkpoint.url}: {files.replace('|', '` or `')}{packaged}{untrained}"


def _arguments(options: type) -> dict[str, str]:
    """What the docstrings of a class of options and its bases say of each, by name."""
    said: dict[str, str] = {}
    for base in options.__mro__:
        _, _, text = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("Args:\n")
        parts = _ARGUMENT.split(inspect.cleandoc(text))[1:]
        for name, words in zip(parts[::2], parts[1::2], strict=True):
            said.setdefault(name, " ".join(words.split()))
    return said


def _score_line(row: str, facts: dict[str, Any]) -> str:
    if facts["not_applicable"]:
        return f"| {row} | not applicable: {facts['not_applicable']} | | | |"
    cell = Quantity("UAR").estimate(facts["auilc"])
    value = f"{cell.text} {cell.note}".strip()
    return f"| {row} | {facts['regime']} | {facts['parameters']:,} | {facts['macs']:,} | {value} |"
