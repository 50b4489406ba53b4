"""Batches of random parts of JPEG files, by Pillow in a DataLoader's processes, as torchvision's `RandomResizedCrop` and
`RandomHorizontalFlip` make them."""

import math
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    def __init__(self, folder, size):
        self.files, self.size = sorted(Path(folder).glob("*/*.jpg")), size

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with open(self.files[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        left, top, width, height = part(*image.size)
        image = image.crop((left, top, left + width, top + height))
        image = image.resize((self.size, self.size), Image.BILINEAR)
        if random.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def part(width, height, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    short = min(width, height)
    return (width - short) // 2, (height - short) // 2, short, short


class Batches:
    """So many batches an epoch: after the last one no process has anything left to do."""

    def __init__(self, files, batch):
        self.files, self.batch, self.count, self.next = files, batch, 1, 0

    def __len__(self):
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            yield [(self.next + i) % self.files for i in range(self.batch)]
            self.next += self.batch


def prepare(side, task):
    pictures = Pictures(task["folder"], task["size"])
    batches = Batches(len(pictures), task["batch"])
    loader = DataLoader(
        pictures, batch_sampler=batches, num_workers=task["workers"], persistent_workers=True, prefetch_factor=4
    )

    def measure(steps):
        batches.count = steps
        seen = 0
        for batch in loader:
            seen += len(batch)
        return seen

    measure(4)
    return measure
