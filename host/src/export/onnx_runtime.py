"""Runs a model in ONNX Runtime for the host: lines of JSON on stdin, each with bytes that it counts; answers likewise."""
import sys

# Nothing is imported from the folder that the program was started in.
sys.path[:] = [it for it in sys.path if it]
import json, os, time

# What libraries print does not mix with the answers.
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)


def answer(data=b"", **words):
    answers.write(json.dumps({**words, "bytes": len(data)}).encode() + b"\n" + data)
    answers.flush()


def follow():
    import numpy

    try:
        import onnxruntime
    except ImportError:
        return answer(error="onnxruntime is not installed there")
    line = json.loads(sys.stdin.buffer.readline())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = line["threads"], 1
    options.log_severity_level = 3
    # Threads that wait for the next pass would take the time of whoever has its turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = sys.stdin.buffer.read(line["bytes"])
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer(version=onnxruntime.__version__)
    samples = None
    for line in sys.stdin.buffer:
        line = json.loads(line)
        if "shape" in line:
            data = sys.stdin.buffer.read(line["bytes"])
            samples = {"input": numpy.frombuffer(data, "<f4").reshape(line["shape"])}
            continue
        before = time.perf_counter()
        (outputs,) = session.run(None, samples)
        passed = time.perf_counter() - before
        wanted = outputs.astype("<f4").tobytes() if line["outputs"] else b""
        answer(wanted, milliseconds=1000 * passed)


try:
    follow()
except BaseException as error:
    answer(error=f"{type(error).__name__}: {error}".splitlines()[0])
