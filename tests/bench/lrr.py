"""A whole run of learning-rate rewinding in PyTorch, written well.

    lrr.py TASK     where TASK is JSON: model, shape, classes, data, levels, rate, epochs, batch,
                    lr, seeds, evaluate_epochs, out, and perhaps device, precision and apart

Seeds train one after the other, or with `apart` each in a process of its own, all at once.

Data in memory, one index operation a batch, fused SGD, masks multiplied in place after each step,
one threshold for all layers, nothing read back within an epoch. Each level leaves weights and masks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from pytorch import networks, samples, schedule


def precision(task):
    """Autocast to bfloat16 where the task says so."""
    kind = torch.device(task.get("device", "cpu")).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=task.get("precision") == "bf16")


def accuracy(network, inputs, labels):
    network.eval()
    with torch.no_grad():
        right = sum(
            (network(x).argmax(1) == y).sum() for x, y in zip(inputs.split(1000), labels.split(1000))
        )
    network.train()
    return right.item() / len(labels)


def run(seed, task, train, test):
    torch.manual_seed(seed)
    device = torch.device(task.get("device", "cpu"))
    network = networks.build(task["model"], task["shape"], task["classes"]).to(device)
    if device.type == "cuda" and len(task["shape"]) == 3:
        network.to(memory_format=torch.channels_last)
    train, test = ([it.to(device) for it in split] for split in (train, test))
    parameters = [it.weight for it in networks.prunable(network)]
    weights = [it.data for it in parameters]
    masks = [torch.ones_like(it) for it in weights]
    total = sum(it.numel() for it in weights)
    inputs, labels = train
    per_epoch = -(-len(labels) // task["batch"])
    out = Path(task["out"]) / f"seed-{seed}"
    records = []
    for level in range(task["levels"] + 1):
        if level > 0:
            scores = torch.cat([it.flatten() for it in weights]).abs_()
            keep = round((1 - task["rate"]) ** level * total)
            kept = scores > scores.kthvalue(total - keep).values
            parts = kept.float().split([it.numel() for it in weights])
            masks = [part.view_as(it) for part, it in zip(parts, weights)]
            torch._foreach_mul_(weights, masks)
        recipe = dict(lr=task["lr"], momentum=0.9, weight_decay=5e-4, fused=True)
        optimizer = torch.optim.SGD(network.parameters(), **recipe)
        group, momenta, step = optimizer.param_groups[0], None, 0
        for epoch in range(task["epochs"]):
            loss_sum = torch.zeros((), device=device)
            for index in torch.randperm(len(labels), device=device).split(task["batch"]):
                factor = schedule.factor(step, per_epoch, per_epoch * task["epochs"])
                group["lr"] = task["lr"] * factor
                x, y = inputs.index_select(0, index), labels.index_select(0, index)
                optimizer.zero_grad(set_to_none=True)
                with precision(task):
                    loss = F.cross_entropy(network(x), y)
                loss.backward()
                optimizer.step()
                if level > 0:
                    if momenta is None:
                        momenta = [optimizer.state[it]["momentum_buffer"] for it in parameters]
                    torch._foreach_mul_(weights, masks)
                    torch._foreach_mul_(momenta, masks)
                loss_sum += loss.detach()
                step += 1
            record = {"level": level, "epoch": epoch, "loss": loss_sum.item() / per_epoch}
            if task["evaluate_epochs"] or epoch + 1 == task["epochs"]:
                record["test"] = accuracy(network, *test)
            records.append(record)
        folder = out / f"level-{level:02}"
        folder.mkdir(parents=True)
        torch.save(network.state_dict(), folder / "end.pt")
        torch.save(masks, folder / "mask.pt")
    (out / "records.json").write_text(json.dumps(records))
    return records[-1]["test"]


def main():
    torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
    task = json.loads(sys.argv[1])
    if task.get("apart") and len(task["seeds"]) > 1:
        alone = [json.dumps({**task, "seeds": [seed]}) for seed in task["seeds"]]
        children = [subprocess.Popen([sys.executable, __file__, it]) for it in alone]
        sys.exit(max(child.wait() for child in children))
    train, test = samples.load(task["data"]), samples.load(task["data"], "test")
    print([run(seed, task, train, test) for seed in task["seeds"]])


if __name__ == "__main__":
    main()
