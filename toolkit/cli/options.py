"""Arguments and options that several commands have, with one wording for all."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toolkit.cli.completion import complete_checkpoint_variable
from toolkit.cli.output import Settings
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.checkpoint import Checkpoint


def _set_quiet(value: bool) -> bool:
    Settings.quiet = value
    return value


def _set_debug(value: bool) -> bool:
    Settings.debug = value
    return value


def _refuse_ending(out: str | None) -> str | None:
    """Refuse an OUT whose ending says another format, before anything is done."""
    from toolkit.formats.endings import refuse_ending

    if out:
        refuse_ending(out)
    return out


Ckpt = Annotated[
    str,
    typer.Argument(
        metavar="CKPT",
        help="A checkpoint: its prefix, one of its files, or the directory it lies in.",
        show_default=False,
    ),
]
Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATTERN]...",
        help="Variables: a name, a scope, a glob ('**' crosses '/'), or re:REGEX.",
        show_default=False,
        autocompletion=complete_checkpoint_variable,
    ),
]
ModelPatterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATTERN]...",
        help="Variables of the model to restore; the others are initialized. Without any, all.",
        show_default=False,
        autocompletion=complete_checkpoint_variable,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        "-x",
        metavar="PATTERN",
        help="Leave these out. May be repeated.",
        show_default=False,
        autocompletion=complete_checkpoint_variable,
    ),
]
SelectFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Read more patterns from FILE, one a line; - is stdin.",
        show_default=False,
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Prefix of the new checkpoint.",
        show_default=False,
        callback=_refuse_ending,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")]
NoSync = Annotated[
    bool, typer.Option("--no-sync", help="Do not wait for the disk: a power loss may undo it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")]
Data = Annotated[
    Literal["auto", "link", "copy"],
    typer.Option(
        "--data",
        help="auto: link data files of which 90% is still used; link: link all; copy: link none.",
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Also read what is shared by hard link, and compare its checksums, before OUT appears.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Draw random values from this seed; without one, one is drawn and printed.",
        show_default=False,
    ),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OLD=NEW",
        help="Rename a variable or scope of the checkpoint, or re:OLD=NEW. May be repeated.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="The function that builds the model in the default graph; FILE.py:FUNCTION too.",
        show_default=False,
    ),
]
Copy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NEW=OLD",
        help="Let the model's variable NEW start as a copy of its variable OLD. May be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NoTruncate = Annotated[bool, typer.Option("--no-truncate", help="Show names whole, and every row.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print data and errors, nothing else.", callback=_set_quiet),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug)]


def copies(given: list[str] | None) -> dict[str, str]:
    """Return what `--copy` was given, NEW → OLD.

    Raises:
        UsageError: One is not `NEW=OLD`.
    """
    found = {}
    for text in given or ():
        new, equals, old = text.partition("=")
        if not (new and equals and old):
            raise UsageError(f"{text!r}: not a copy", hint="write NEW=OLD: --copy head2/kernel=head/kernel")
        found[new] = old
    return found


def destination(
    out: str | None,
    *,
    dry_run: bool,
    force: bool,
    sources: "Iterable[Checkpoint]" = (),
) -> str | None:
    """Return where to write, or `None` in a dry run. What cannot be written to is refused now.

    Args:
        out: What was given.
        dry_run: Whether nothing will be written.
        force: Whether a checkpoint there will be replaced, unless it is a source.
        sources: What is read.

    Raises:
        UsageError: There is something to write and no place for it, or it cannot be a prefix.
        PublishError: There is a checkpoint already.
    """
    if out:
        from toolkit.change.plan import refuse_source
        from toolkit.formats.bundle.publication import refuse_prefix

        refuse_source(out, sources)
        refuse_prefix(out, force=force)
    if dry_run:
        return None
    if not out:
        raise UsageError("no -o OUT: where to write?", hint="or --dry-run, to see the plan alone")
    return out
