"""Images that are made here, so that nothing has to be fetched."""

import json
import random
import struct
import zlib

CLASSES = 10


def write_images(path, samples, tested, shape):
    """Noise above a brightness for each class, as bytes, in a safetensors file."""
    numbers = random.Random(1)
    size = shape[0] * shape[1] * shape[2]
    arrays = []
    for split, count in (("train", samples), ("test", tested)):
        labels = [place % CLASSES for place in range(count)]
        noise = bytearray(numbers.randbytes(count * size))
        for place, label in enumerate(labels):
            own = slice(place * size, (place + 1) * size)
            noise[own] = bytes(it // 2 + 12 * label for it in noise[own])
        arrays.append((f"x_{split}", "U8", [count, *shape], bytes(noise)))
        arrays.append((f"y_{split}", "I64", [count], struct.pack(f"<{count}q", *labels)))
    write(path, arrays)


def write_folder(folder, samples, tested, side):
    """The same as PNG files, in a folder for each class."""
    numbers = random.Random(2)
    for split, count in (("train", samples), ("val", tested)):
        for place in range(count):
            label = place % CLASSES
            own = folder / split / f"class-{label}"
            own.mkdir(parents=True, exist_ok=True)
            rows = bytearray(numbers.randbytes(side * (3 * side + 1)))
            rows = bytearray(it // 2 + 12 * label for it in rows)
            # No filter of any row.
            rows[:: 3 * side + 1] = bytes(side)
            (own / f"{place}.png").write_bytes(png(side, bytes(rows)))


def png(side, rows):
    """A square image of red, green and blue."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    found = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        found += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return found


def write(path, arrays):
    """A safetensors file of arrays: name, type, shape, bytes."""
    header, start = {}, 0
    for name, kind, shape, raw in arrays:
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, start + len(raw)]}
        start += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(raw for *_, raw in arrays))
