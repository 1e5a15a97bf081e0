"""`ckpt edit`: names, dtypes and values changed in the file alone, in the order that was typed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from toolkit.cli import options, output
from toolkit.cli.carrying import carry_out
from toolkit.cli.completion import complete_checkpoint_variable
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.change.edit import Edit

_EDITS = ("rename", "add_scope", "strip_scope", "drop", "keep", "strip_optimizer", "cast", "set_", "copy")
_TYPED = "toolkit.edits"


class InOrder(TyperCommand):
    """A command that knows in which order its options were typed, one among the others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the edits in their order, then parse as ever."""
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        waiting = {name: list(_listed(values.get(name))) for name in _EDITS}
        names = [parameter.name or "" for parameter in order]
        ctx.meta[_TYPED] = [(name, waiting[name].pop(0)) for name in names if waiting.get(name)]
        return super().parse_args(ctx, args)


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else () if value in (None, False) else (value,)


def edit(
    context: typer.Context,
    ckpt: options.Ckpt,
    out: options.Out = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Rename a variable or scope, or re:OLD=NEW; slots follow. May be repeated.",
            show_default=False,
        ),
    ] = None,
    add_scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="Put SCOPE around all variables: dense/kernel becomes SCOPE/dense/kernel; slots follow.",
            show_default=False,
        ),
    ] = None,
    strip_scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="Take SCOPE off the names under it: SCOPE/dense/kernel becomes dense/kernel.",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Leave these out, and their slots. May be repeated.",
            show_default=False,
            autocompletion=complete_checkpoint_variable,
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Keep only these; a scope keeps its weights, without "
            "slots. Adjacent --keep options are combined.",
            show_default=False,
            autocompletion=complete_checkpoint_variable,
        ),
    ] = None,
    strip_optimizer: Annotated[
        bool,
        typer.Option(
            "--strip-optimizer",
            help="Leave out slots, an optimizer's counters and metrics; moving averages stay.",
        ),
    ] = False,
    cast: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PATTERN=]DTYPE",
            help="Cast these to DTYPE (bfloat16, fp16); DTYPE alone: all floating-point weights and moving "
            "averages, no slots, counters or metrics. May be repeated.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Give a variable a number, a list, or what x.npy holds. May be repeated.",
            show_default=False,
        ),
    ] = None,
    copy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NEW=OLD", help="Add a copy of a variable or scope. May be repeated.", show_default=False
        ),
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="Cast values that do not fit to the nearest that does.")
    ] = False,
    keep_meta: Annotated[
        bool, typer.Option("--keep-meta", help="Copy the .meta file, though its graph has the old names.")
    ] = False,
    data: options.Data = "auto",
    check: options.Check = False,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Rename, drop, cast, set and copy variables.

    Edits are done in the order given, a pattern meaning the names as they are by then. What does not change
    is shared with CKPT by hard link. TensorFlow is not loaded.
    """
    from toolkit.change.edit import edit as begin
    from toolkit.formats.opening import open_checkpoint

    typed = context.meta[_TYPED]
    if clip and not cast:
        raise UsageError("--clip: is for --cast", hint="leave it out, or say what to cast")
    with open_checkpoint(ckpt, note=output.message) as checkpoint:
        edited = begin(checkpoint)
        for name, value in _joined(typed):
            edited = _after(edited, name, value, clip=clip)
        carry_out(
            "edit",
            edited.plan(data=data),
            out,
            force=force,
            no_sync=no_sync,
            dry_run=dry_run,
            json=json,
            every_row=no_truncate,
            check=check,
            keep_meta=keep_meta,
        )


def _joined(typed: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return edits with the patterns of `--keep` that follow each other in one."""
    joined: list[tuple[str, Any]] = []
    for name, value in typed:
        if name == "keep" and joined and joined[-1][0] == "keep":
            joined[-1][1].append(value)
        else:
            joined.append((name, [value] if name == "keep" else value))
    return joined


def _after(edited: "Edit", name: str, value: Any, *, clip: bool) -> "Edit":
    """Return what an edit makes of a checkpoint, given as it was typed."""
    if name == "rename":
        return edited.rename([value])
    if name == "add_scope":
        return edited.add_scope(value)
    if name == "strip_scope":
        return edited.strip_scope(value)
    if name == "drop":
        return edited.drop(value)
    if name == "keep":
        return edited.keep(*value)
    if name == "strip_optimizer":
        return edited.strip_optimizer()
    if name == "cast":
        return edited.cast(value, clip=clip)
    target, equals, given = value.partition("=")
    if not (target and equals and given):
        write = "NAME=VALUE: --set global_step=0" if name == "set_" else "NEW=OLD: --copy head2=head"
        raise UsageError(f"{value!r}: not {'a value' if name == 'set_' else 'a copy'}", hint=f"write {write}")
    return edited.set(target, given) if name == "set_" else edited.copy(target, given)
