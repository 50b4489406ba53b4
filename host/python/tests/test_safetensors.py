import json
import struct
import tempfile
import unittest
from pathlib import Path

from rewind import Damaged, LaterVersion
from rewind.safetensors import read

from .made import needs


def file(folder: Path, header: dict, data: bytes) -> Path:
    text = json.dumps(header).encode()
    path = folder / "tensors.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


# The values 1.5, -2 and 0 as float32, the bytes 1 and 0, and 7 as int64.
VALUES = struct.pack("<3f", 1.5, -2, 0)
HEADER = {
    "__metadata__": {"format": "pt"},
    "weight": {"dtype": "F32", "shape": [3, 1], "data_offsets": [0, 12]},
    "mask": {"dtype": "U8", "shape": [2], "data_offsets": [12, 14]},
    "steps": {"dtype": "I64", "shape": [], "data_offsets": [14, 22]},
}
DATA = VALUES + b"\1\0" + struct.pack("<q", 7)


@needs("numpy")
class Safetensors(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def test_values_shapes_and_types_are_those_of_the_file(self) -> None:
        tensors = read(file(self.folder, HEADER, DATA))
        self.assertEqual(list(tensors), ["weight", "mask", "steps"])
        self.assertEqual(tensors["weight"].tolist(), [[1.5], [-2.0], [0.0]])
        self.assertEqual(tensors["mask"].tolist(), [1, 0])
        self.assertEqual((tensors["steps"].shape, int(tensors["steps"])), ((), 7))
        self.assertEqual([str(it.dtype) for it in tensors.values()], ["float32", "uint8", "int64"])
        tensors["weight"][0, 0] = 3  # what is read can be written to

    def test_a_file_that_is_cut_off_anywhere_is_damaged(self) -> None:
        path = file(self.folder, HEADER, DATA)
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with self.assertRaises(Damaged, msg=str(length)) as raised:
                read(path)
            self.assertIn(str(path), str(raised.exception))
        path.write_bytes(whole + b"\0")
        with self.assertRaisesRegex(Damaged, "1 bytes follow its last tensor"):
            read(path)

    def test_places_that_overlap_leave_gaps_or_do_not_fit_their_shape_are_damage(self) -> None:
        for name, change in [
            ("mask", {"data_offsets": [11, 13]}),
            ("mask", {"data_offsets": [13, 15]}),
            ("weight", {"shape": [4]}),
            ("weight", {"shape": [-3, -1]}),
            ("weight", {"shape": [1 << 62, 4]}),
            ("steps", {"data_offsets": [14]}),
            ("steps", {"shape": "8"}),
        ]:
            header = {**HEADER, name: {**HEADER[name], **change}}
            with self.assertRaises(Damaged, msg=f"{name} {change}"):
                read(file(self.folder, header, DATA))

    def test_a_type_that_no_run_of_this_version_has_is_a_later_versions(self) -> None:
        header = {"mask": {"dtype": "BITS", "shape": [16], "data_offsets": [0, 2]}}
        with self.assertRaisesRegex(LaterVersion, "`mask` has type BITS"):
            read(file(self.folder, header, b"\xff\xff"))

    @needs("torch")
    def test_torch_gives_the_same_values(self) -> None:
        import torch

        tensors = read(file(self.folder, HEADER, DATA), "torch")
        self.assertTrue(torch.equal(tensors["weight"], torch.tensor([[1.5], [-2.0], [0.0]])))
        self.assertEqual(tensors["mask"].dtype, torch.uint8)

    @needs("safetensors")
    def test_the_packages_reader_gives_the_same(self) -> None:
        import numpy
        from safetensors.numpy import load_file

        path = file(self.folder, HEADER, DATA)
        theirs, ours = load_file(path), read(path)
        self.assertEqual(set(theirs), set(ours))
        for name, array in theirs.items():
            numpy.testing.assert_array_equal(array, ours[name])
            self.assertEqual(array.dtype, ours[name].dtype)
