"""`facedistill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder that keeps all that the demo makes.")] = Path(
        "facedistill-demo"
    ),
    seed: o.Seed = 0,
    device: o.Device = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw and threads that read faces.")] = 2,
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Walk the whole road on made-up faces: align, train a teacher, distil, export, judge. Offline, in minutes."""
    import shutil

    from facedistill.demo import run_demo
    from facedistill.errors import UsageError

    from .console import print_table, progress, say, write_json

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        earlier_demo = (out / "pairs.csv").is_file() and (out / "test-faces").is_dir()
        if not (overwrite and earlier_demo):
            raise UsageError(
                "the folder is not empty", place=out, next_step="Use another --out, or --overwrite for an earlier demo"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    result = run_demo(
        out,
        seed=seed,
        device=device,
        workers=workers,
        stage=lambda name: progress(name, unit="steps", quiet=quiet),
        say=lambda line: say(line, quiet=quiet),
    )
    columns, rows = result.table()
    title = f"{result.plan.pairs * 2} pairs of {result.plan.test_people} people never trained on (seed {seed})"
    print_table(title, columns, rows, quiet=quiet)
    say(f"{result.seconds:.0f} s; everything is in {out}. Try next:", quiet=quiet)
    say(
        f"  facedistill eval {out / 'student.onnx'} --pairs {out / 'pairs.csv'} --images {out / 'test-faces'}",
        quiet=quiet,
    )
    write_json(json_file, result.to_dict())
