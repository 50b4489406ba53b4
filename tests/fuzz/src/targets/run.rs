//! Files of a run: somebody else's, or damaged.

use std::fs;

use host::fuzzing;
use host::records::{
    self, ClassRecord, Epoch, LayerRecord, STOPPED_FILE, SignRecord, StopRecord, SweepRecord,
    read_lines,
};
use host::report::{Subject, build};
use host::store::{Lock, Presence, RunDir, read_tensors};
use host::{neuron, statistics};

use super::Target;
use crate::scratch::Scratch;

/// A file of tensors.
pub const TENSORS: Target = Target {
    name: "tensors",
    read: tensors,
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"dtype\"",
        "\"F32\"",
        "\"F64\"",
        "\"I64\"",
        "\"U8\"",
        "\"BF16\"",
        "\"shape\"",
        "\"data_offsets\"",
        "\"__metadata__\"",
        "\"fc1.weight\"",
    ],
    mutations: 1000,
    memory: 64,
};

/// The JSON of a run, a sweep and a simulation.
pub const RECORDS: Target = Target {
    name: "records",
    read: records,
    dictionary: JSON,
    mutations: 400,
    memory: 64,
};

/// A run's or a simulation's folder as `host report` reads it.
pub const REPORT: Target = Target {
    name: "report",
    read: report,
    dictionary: JSON,
    mutations: 20,
    memory: 512,
};

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "false",
    "1e999",
    "\\u0000",
    "\\ud800",
    "\n--- ",
    "experiment.toml",
    "identity.json",
    "sweep.json",
    "stopped.json",
    "neuron.json",
    "barriers.jsonl",
    "seed-0/level-00/done.json",
    "seed-0/level-00/summary.json",
    "seed-0/level-00/metrics.jsonl",
    "seed-0/level-00/signs.jsonl",
    "seed-0/level-00/layers.jsonl",
    "seed-0/level-00/classes.jsonl",
    "seed-0/progress/checkpoint.json",
    "seed-0/failed.json",
    "lock/000007/owner.json",
    "\"pid\"",
    "\"limit\"",
    "\"level\"",
    "\"epoch\"",
    "\"digests\"",
    "\"carry\"",
    "\"../../x\"",
    "\"seed\"",
    "<script>",
];

fn tensors(bytes: &[u8]) {
    let files = Scratch::new(&[], "");
    let path = files.file("end.safetensors");
    fs::write(&path, bytes).expect("there is room for a small file");
    if let Ok(tensors) = read_tensors(&path) {
        for (name, tensor) in tensors {
            let held = tensor.numel() * tensor.kind().elt_size_in_bytes();
            assert!(held <= bytes.len(), "`{name}` holds {held} bytes");
        }
    }
    if let Ok(numbers) = fuzzing::state_dict(bytes) {
        // None takes less than 16 bits.
        assert!(2 * numbers <= bytes.len(), "{numbers} numbers");
    }
}

fn records(bytes: &[u8]) {
    let files = Scratch::new(bytes, "sweep.json");
    let run = RunDir::new(files.path());
    for seed in run.seeds().into_iter().take(3) {
        let seed = run.seed(seed);
        for level in 0..2 {
            let level = seed.level(level);
            if let Ok(done) = level.check() {
                let inside = |name: &String| level.path().join(name).parent() == Some(level.path());
                assert!(done.digests.keys().all(inside));
            }
            let _ = (level.done(), records::read_summary(&level));
            let _ = read_lines::<Epoch>(&level.file("metrics.jsonl"));
            let _ = read_lines::<LayerRecord>(&level.file("layers.jsonl"));
            for signs in read_lines::<SignRecord>(&level.file("signs.jsonl")).unwrap_or_default() {
                let _ = (signs.share_epoch(), signs.share_start());
            }
            let _ = read_lines::<ClassRecord>(&level.file("classes.jsonl"));
        }
        if let Ok(text) = fs::read(seed.progress().join("checkpoint.json")) {
            let _ = fuzzing::checkpoint(&text);
        }
    }
    if let Ok(sweep) = SweepRecord::read(files.path()) {
        let text = serde_json::to_vec(&sweep).expect("what was read can be written");
        let again: SweepRecord = serde_json::from_slice(&text).expect("it was just written");
        assert_eq!(again, sweep);
    }
    // As it is read, and as if somebody had made a digest for it.
    let _ = StopRecord::read(files.path());
    let stopped = fs::read(files.file(STOPPED_FILE)).unwrap_or_default();
    if let Ok(record) = serde_json::from_slice::<StopRecord>(&stopped) {
        for (cell, why) in record.cells() {
            assert!(!format!("{cell} {why}").is_empty());
        }
    }
    if let Ok(Some(record)) = neuron::read(files.path()) {
        let folder = files.file("written");
        neuron::write(&folder, &record).expect("what was read can be written");
    }
    let lock = run.file("lock");
    if let Some(owner) = Lock::holder(&lock) {
        assert!(
            owner.presence() != Presence::Gone,
            "a dead owner holds nothing"
        );
        let _ = (owner.is_orphan(), Lock::held_for(&lock));
    }
    let _ = statistics::recorded(&run);
    let _ = statistics::check_comparable(&run, &run);
}

fn report(bytes: &[u8]) {
    let files = Scratch::new(bytes, "neuron.json");
    let folder = files.path().to_owned();
    let out = files.file("out/of");
    let subject = match (
        files.file("sweep.json").exists(),
        files.file("neuron.json").exists(),
    ) {
        (true, _) => Subject::Sweep(folder),
        (_, true) => Subject::Neuron(folder),
        _ => Subject::Run(folder),
    };
    if let Ok(written) = build(&[subject], &out, false) {
        let page = fs::read_to_string(&written.page).expect("it was just written");
        assert!(!page.contains("<script>"), "the page runs a foreign script");
    }
    // Whatever the names in it, nothing is written beside the report's folder.
    let beside = fs::read_dir(files.file("out")).map_or(0, Iterator::count);
    assert!(beside <= 1, "{beside} entries");
}
