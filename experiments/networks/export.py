"""Writes a PyTorch network as an archive that Rewind trains and prunes; needs PyTorch 2.13 and nothing else.

    from export import rewind_export
    rewind_export(model, torch.randn(2, 3, 32, 32), "net.pt2")

The model's `forward` takes one tensor, the samples, and returns one, the logits. `example` holds two samples or
more; the batch's size stays free, so `forward` asks for it by `x.shape[0]`, never by `len(x)`. The archive has a
graph for training and one for evaluation, and no path or source line of whoever wrote it. Where PyTorch cannot
put both into one file, they become `net.train.pt2` and `net.eval.pt2`, which belong together.
"""

import json
import zipfile
from pathlib import Path

import torch


def rewind_export(model, example, path):
    if len(example) < 2:
        raise ValueError("the example has one sample, expected two or more: PyTorch fixes a batch of one")
    example, path = torch.zeros_like(example[:2]), Path(path)
    modes = [(module, module.training) for module in model.modules()]
    free = ({0: torch.export.Dim("batch", min=1)},)
    try:
        with torch.enable_grad():  # without gradients, attention takes shortcuts that cannot be trained
            train = torch.export.export(model.train(), (example,), dynamic_shapes=free)
            eval = torch.export.export(model.eval(), (example,), dynamic_shapes=free)
    finally:
        for module, training in modes:
            module.training = training
    try:
        from torch.export.pt2_archive._package import package_pt2
    except ImportError:
        for part, program in (("train", train), ("eval", eval)):
            part = path.with_suffix(f".{part}.pt2")
            torch.export.save(program, part)
            strip(part)
        return
    package_pt2(str(path), exported_programs={"train": train, "eval": eval})
    strip(path)


def strip(path):
    """Takes what tells of the exporting machine out of an archive, and what stands in it twice."""
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    records = {name: records[name] for name in records if not name.endswith("/serialization_id")}  # a hash of it all
    texts = {name: json.loads(text) for name, text in records.items() if name.endswith(".json")}
    for name, text in texts.items():
        if "/models/" in name:
            for node in text["graph_module"]["graph"]["nodes"]:
                node["metadata"] = {}
        if name.endswith("/eval_weights_config.json"):  # both graphs can read a tensor from one record
            folder, twins = name.rsplit("/", 1)[0], texts[name.replace("/eval_", "/train_")]["config"]
            read = lambda tensor: records[f"{folder}/{tensor['path_name']}"]
            for key, tensor in text["config"].items():
                if read(tensor) == read(twins[key]):
                    tensor["path_name"] = twins[key]["path_name"]
            used = {tensor["path_name"] for tensor in [*twins.values(), *text["config"].values()]}
            records = {name: records[name] for name in records if "/weight_" not in name or name.split("/")[-1] in used}
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in records.items():
            if name in texts:
                contents = json.dumps(texts[name], separators=(",", ":")).encode()
            entry = zipfile.ZipInfo(name)  # dated 1980: the same network gives the same bytes
            tensor = "/weights/weight_" in name or "/constants/tensor_" in name
            entry.compress_type = zipfile.ZIP_STORED if tensor else zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents)
