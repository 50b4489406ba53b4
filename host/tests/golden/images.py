"""Writes the pictures that `host/src/data/picture.rs` and `resample.rs` are compared with.

    python3 -m venv .venv
    .venv/bin/pip install torch==2.13.0 torchvision pillow==13.0.0 safetensors numpy
    .venv/bin/python host/tests/golden/images.py

For each picture NAME, `images.safetensors` holds

    file.NAME     the bytes of a JPEG or PNG file
    rgb.NAME      [height, width, 3]: what Pillow makes of it as RGB
    centre.NAME   [3, 24, 24]: of these pixels, torchvision's Resize(28) and CenterCrop(24)
    crop.NAME     [3, 24, 24]: its resized_crop of the 17 x 11 pixels from row 5 and column 9 on
    grown.NAME    [3, 24, 24]: the same of 7 x 20 pixels from row 3 and column 2 on

as bytes.
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as F


def ramp(width, height):
    y, x = np.mgrid[:height, :width]
    colours = [127 + 120 * np.sin(x / 5 + y / 9), 255 * y / height, 127 + 120 * np.cos(x / 3 - y / 7)]
    return Image.fromarray(np.stack(colours, -1).astype(np.uint8))


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def main():
    wide, tall = ramp(61, 47), ramp(37, 52)
    files = {
        "jpeg": encode(wide, format="JPEG", quality=90),
        "progressive": encode(tall, format="JPEG", quality=75, progressive=True, subsampling=0),
        "grey": encode(wide.convert("L"), format="JPEG", quality=85),
        "cmyk": encode(tall.convert("CMYK"), format="JPEG", quality=95),
        "palette": encode(wide.quantize(64), format="PNG"),
        "alpha": encode(Image.merge("RGBA", [*tall.split(), tall.split()[0]]), format="PNG"),
    }
    tensors = {}
    for name, data in files.items():
        image = Image.open(io.BytesIO(data)).convert("RGB")
        planes = lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        tensors[f"file.{name}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        tensors[f"rgb.{name}"] = torch.from_numpy(np.array(image))
        tensors[f"centre.{name}"] = planes(F.center_crop(F.resize(image, 28), 24))
        tensors[f"crop.{name}"] = planes(F.resized_crop(image, 5, 9, 11, 17, [24, 24]))
        tensors[f"grown.{name}"] = planes(F.resized_crop(image, 3, 2, 20, 7, [24, 24]))
    path = Path(__file__).with_suffix(".safetensors")
    save_file(tensors, path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
