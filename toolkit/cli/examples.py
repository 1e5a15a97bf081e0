"""What stands under "Examples:" at the end of each command's `--help`: lines that work as they are.

`run` is the directory of a training, `run/model.ckpt-200` a checkpoint in it, and `model.py` has functions
`build`, which makes the model in a graph, and `keras`, which returns it.
"""

EXAMPLES = {
    "": """
        ckpt inspect run                                # what is in a checkpoint
        ckpt export run weights.safetensors --weights-only
        ckpt reinit run head -o fresh/model.ckpt-0      # a new head, the rest kept
        ckpt edit --help                                # every command has examples
    """,
    "inspect": """
        ckpt inspect run                              # the latest checkpoint in it
        ckpt inspect run head --sort bytes            # the variables of a scope
        ckpt inspect model.h5 --tree --depth 2
        ckpt inspect run '**/kernel' --csv > kernels.csv
    """,
    "log": """
        ckpt log run
        ckpt log run --csv > log.csv
    """,
    "latest": """
        ckpt latest run
        ckpt inspect "$(ckpt latest run)"
    """,
    "init": """
        ckpt init --model model.py:build -o start/model.ckpt-0 --seed 7
        ckpt init --model model.py:build --dry-run
    """,
    "restore": """
        ckpt restore run --model model.py:build --dry-run
        ckpt restore run --model model.py:build --reinit head -o new/model.ckpt-0
        ckpt restore old/net --model model.py:build --rename net=body \\
            --on-missing init -o new/model.ckpt-1
    """,
    "reinit": """
        ckpt reinit run head -o fresh/model.ckpt-0 --seed 7
        ckpt reinit run '**/bias' --init zeros -o fresh/model.ckpt-1
        ckpt reinit run head --init he_normal --dry-run
    """,
    "edit": """
        ckpt edit run --strip-optimizer -o slim/model
        ckpt edit run --rename body=encoder --drop head -o slim/encoder
        ckpt edit run --cast bfloat16 --set global_step=0 -o slim/half
    """,
    "merge": """
        ckpt merge body head -o whole
        ckpt merge run/model.ckpt-100 run/model.ckpt-200 --on-conflict last -o new
    """,
    "average": """
        ckpt average run --last 2 -o mean                    # of a directory
        ckpt average run/model.ckpt-100 run/model.ckpt-200 --weights 1,3 -o mean-1
        ckpt average a b c --weights 1,1,-1 -o sum           # a + b - c
    """,
    "export": """
        ckpt export run weights.safetensors --weights-only
        ckpt export run head '**/bias' -o out/part.npz
        ckpt export run half.h5 --cast bfloat16 --compress gzip
        ckpt export tf2/ckpt-1 names --to-tf1
    """,
    "import": """
        ckpt import model.safetensors -o back/model
        ckpt import model.h5 --rename dense=head -o back/head
        ckpt import model.h5 --to-tf2 --model model.py:keras -o back/tf2
    """,
    "prune": """
        ckpt prune run --keep 2 --dry-run
        ckpt prune run --keep 1 --keep-every 100
    """,
    "repair": """
        ckpt repair run --dry-run
        ckpt repair run
    """,
}
"""Lines by command; those of the program itself without one."""


def epilog(command: str) -> str:
    """Return the examples at the end of a help text, marked so that click does not wrap them."""
    lines = EXAMPLES[command].strip("\n").rstrip().splitlines()
    return "\b\nExamples:\n" + "\n".join(line[6:] for line in lines)
