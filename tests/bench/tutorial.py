"""A whole run of learning-rate rewinding in PyTorch, written as tutorials show it.

    tutorial.py TASK     where TASK is the JSON that `lrr.py` takes

A DataLoader, `torch.nn.utils.prune`, a learning-rate scheduler, the loss read in every step.
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

from pytorch import networks, samples, schedule


def evaluate(network, loader):
    network.eval()
    right, count = 0, 0
    with torch.no_grad():
        for inputs, labels in loader:
            right += (network(inputs).argmax(1) == labels).sum().item()
            count += len(labels)
    return right / count


def train_epoch(network, loader, criterion, optimizer, scheduler):
    network.train()
    total = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(network(inputs), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item()
    return total / len(loader)


def run(seed, task, train_set, test_set):
    torch.manual_seed(seed)
    network = networks.build(task["model"], task["shape"], task["classes"])
    train_loader = DataLoader(train_set, batch_size=task["batch"], shuffle=True)
    test_loader = DataLoader(test_set, batch_size=task["batch"])
    criterion = nn.CrossEntropyLoss()
    to_prune = [(module, "weight") for module in networks.prunable(network)]
    steps = len(train_loader)
    out = Path(task["out"]) / f"seed-{seed}"
    out.mkdir(parents=True)
    for level in range(task["levels"] + 1):
        if level > 0:
            prune.global_unstructured(to_prune, prune.L1Unstructured, amount=task["rate"])
        optimizer = torch.optim.SGD(network.parameters(), lr=task["lr"], momentum=0.9, weight_decay=5e-4)
        total = steps * task["epochs"]
        scheduler = LambdaLR(optimizer, lambda step: schedule.factor(step, steps, total))
        for epoch in range(task["epochs"]):
            train_epoch(network, train_loader, criterion, optimizer, scheduler)
        accuracy = evaluate(network, test_loader)
        # With pruning the masks are buffers of the network, so that they are saved along.
        torch.save(network.state_dict(), out / f"level-{level:02}.pt")
    return accuracy


def main():
    torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
    task = json.loads(sys.argv[1])
    train_set = TensorDataset(*samples.load(task["data"]))
    test_set = TensorDataset(*samples.load(task["data"], "test"))
    print([run(seed, task, train_set, test_set) for seed in task["seeds"]])


if __name__ == "__main__":
    main()
