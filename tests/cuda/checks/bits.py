"""Rows that compare the bytes of runs."""

from functools import partial

from .digests import compare
from .runs import of, recording
from .verdicts import Differs


def rows(runs, nets, is_short):
    """Named functions, each of which says what it saw or fails."""
    every = ["fp32", "bf16", "tf32"]
    found = []

    def add(name, function, *arguments):
        found.append((name, partial(function, runs, *arguments)))

    for net in nets:
        # The dry run goes through all precisions with the network that is trained the fastest.
        precisions = every if not is_short or net is nets[0] else every[:2]
        for precision in precisions:
            add(f"repeated {net.name} {precision}", repeated, net, precision)
            if not is_short or precision == "fp32":
                add(f"graphs {net.name} {precision}", graphs, net, precision)
        if not is_short or net is nets[0]:
            add(f"killed {net.name}", killed, net, ())
            add(f"killed {net.name} graphs", killed, net, ["--cuda-graphs"])
            add(f"own kernels {net.name}", own_kernels, net, "fp32")
            if not is_short:
                add(f"own kernels {net.name} bf16", own_kernels, net, "bf16")
        if net is nets[1]:
            add(f"dropout {net.name}", dropout, net)
        if net is not nets[0] and (not is_short or net is nets[1]):
            add(f"together {net.name}", together, net)
        if net is not nets[1]:
            add(f"accumulated {net.name}", accumulated, net)
    for precision in every[:1] if is_short else every:
        add(f"lanes {nets[0].name} {precision}", lanes, nets[0], precision, of(precision))
    # Libraries choose by the shape how they add up: other batches, and a norm over all weights.
    batches = lambda count: [f"train.batch_size={count}", "train.clip_norm=0.5"]  # noqa: E731
    for count in (64, 256):
        add(f"lanes {nets[0].name} in batches of {count}", lanes, nets[0], f"batch-{count}", batches(count))
    add(f"lanes {nets[0].name} own kernels", lanes, nets[0], "kernels", batches(256), ["--cuda-kernels"])
    return found


def file_rows(runs, net):
    """Rows of images that stay in their files, which a GPU copies from pinned memory."""
    return [
        (f"repeated {net.name}", partial(repeated, runs, net, "fp32")),
        (f"killed {net.name}", partial(killed, runs, net, ())),
        (f"own kernels {net.name}", partial(own_kernels, runs, net, "fp32")),
    ]


def repeated(runs, net, precision):
    first = runs.reference(net, precision)
    again = runs.run(net, f"{precision}-again", *of(precision))
    return f"{compare(again, first)} files are the same"


def killed(runs, net, more):
    first = runs.reference(net, "fp32")
    again = runs.killed(net, "-".join(["killed", *(it.strip("-") for it in more)]), (), more)
    return f"{compare(again, first)} files are the same"


def graphs(runs, net, precision):
    first = runs.reference(net, precision)
    again = runs.run(net, f"{precision}-graphs", *of(precision), more=["--cuda-graphs"])
    count = compare(again, first)
    said = recording(runs.log(again), runs.program)
    if runs.program.is_on_gpu and said != "recorded":
        raise Differs(said)
    return f"{count} files are the same; {said}"


def own_kernels(runs, net, precision):
    """Runs by kernels of the program's own: again, and recorded."""
    make = lambda name, *more: runs.run(  # noqa: E731
        net, f"{precision}-kernels-{name}", *of(precision), more=["--cuda-kernels", *more]
    )
    first = make("first")
    count = compare(make("again"), first) + compare(make("graphs", "--cuda-graphs"), first)
    return f"{count} files are the same"


def dropout(runs, net):
    """Coins that the GPU draws, in steps that are recorded and in others."""
    make = lambda name, *more: runs.run(  # noqa: E731
        net, f"dropout-{name}", "model.dropout=0.3", more=["--cuda-kernels", *more]
    )
    first, graphs = make("first"), make("graphs", "--cuda-graphs")
    count = compare(graphs, first)
    said = recording(runs.log(graphs), runs.program)
    if runs.program.is_on_gpu and said != "recorded":
        raise Differs(said)
    return f"{count} files are the same; {said}"


def together(runs, net):
    """Seeds side by side beside seeds one after another."""
    first, asked = runs.reference(net, "fp32"), ["--seeds-together", str(len(net.seeds))]
    eager = runs.run(net, "together", more=asked)
    graphs = runs.run(net, "together-graphs", more=[*asked, "--cuda-graphs"])
    return f"{compare(eager, first) + compare(graphs, first)} files are the same"


def lanes(runs, net, name, sets, more=()):
    """Each seed alone beside the same seed among others."""
    make = lambda which, *seeds: runs.run(net, f"{name}-{which}", *sets, more=[*more, *seeds])  # noqa: E731
    together, count = make("first"), 0
    for seed in net.seeds:
        count += compare(make(f"seed-{seed}", "--seeds", str(seed)), together, f"seed-{seed}")
    return f"{count} files of {len(net.seeds)} seeds are the same"


def accumulated(runs, net):
    first, again = (runs.run(net, f"accumulated-{it}", "train.accumulate=2") for it in ("first", "again"))
    return f"{compare(again, first)} files are the same"


def verified(runs, part, parts):
    """`host verify` of every parts-th folder of runs."""
    folders = sorted(runs.made)[part::parts]
    own = [run for folder in folders for run in sorted(folder.iterdir()) if (run / "experiment.toml").is_file()]
    if not own:
        raise Differs("there is no run to verify")
    runs.program.expect("verify", *own, "--quiet")
    return f"{len(own)} runs"
