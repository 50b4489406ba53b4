//! Reads levels that are there and refuses what is not as it should be.

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::export::testing::{model_of, prune};
use crate::store::{write, write_tensors};

/// A run whose seeds 0 and 1 have finished levels 0 and 1, and seed 1 level 2.
fn run(folder: &Path) -> RunDir {
    let run = RunDir::new(folder.join("mlp-0"));
    let text = r#"
        name = "mlp"
        seeds = [0, 1]
        data = { name = "mnist1d" }
        model = { name = "mlp", hidden = [6] }
        train = { epochs = 1, batch_size = 128, optimizer = { name = "sgd", lr = 0.1 } }
        prune = { levels = 2 }
        strategy = { score = { use = "imp/magnitude" }, mask = { use = "imp/global" }, rewind = [] }
    "#;
    write(&run.file(EXPERIMENT), text.as_bytes()).unwrap();
    let identity = RunIdentity {
        identity: "abc".to_owned(),
        ..RunIdentity::default()
    };
    identity.write(&run).unwrap();
    for (seed, level) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
        let mut model = model_of("mlp", json!({"hidden": [6]}), &[40], 10, seed);
        prune(&mut model, 0.2, level);
        let masks: Vec<_> = (model.prunable.iter())
            .map(|name| {
                (
                    name.clone(),
                    model.tensors[name].ne(0.0).to_kind(Kind::Uint8),
                )
            })
            .collect();
        let dir = run.seed(seed).level(level);
        let end: Vec<_> = model.tensors.into_iter().collect();
        write_tensors(&dir.file(END), &end).unwrap();
        write_tensors(&dir.file(MASK), &masks).unwrap();
        let files = [END, MASK].map(str::to_owned);
        dir.finish(&files, Value::Null).unwrap();
    }
    run
}

fn message(run: &RunDir, seed: Option<u64>, level: Option<u64>) -> String {
    read(run, seed, level).err().unwrap().to_string()
}

/// Changes the tensors at the end of level 0 of seed 0, with the digest that belongs to them.
fn change(run: &RunDir, change: impl Fn(&mut BTreeMap<String, Tensor>)) {
    let dir = run.seed(0).level(0);
    let mut end = read_tensors(&dir.file(END)).unwrap().into_iter().collect();
    change(&mut end);
    write_tensors(&dir.file(END), &end.into_iter().collect::<Vec<_>>()).unwrap();
    dir.finish(&[END, MASK].map(str::to_owned), Value::Null)
        .unwrap();
}

#[test]
fn the_last_level_of_the_first_seed_that_has_it_is_read_unless_another_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let place = |seed, level| {
        let source = read(&run, seed, level).unwrap();
        (source.seed, source.level)
    };
    assert_eq!(place(None, None), (1, 2));
    assert_eq!(place(None, Some(1)), (0, 1));
    assert_eq!(place(Some(0), None), (0, 1));
    assert_eq!(place(Some(1), Some(0)), (1, 0));
}

#[test]
fn the_metadata_say_where_the_model_comes_from_and_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let source = read(&run, Some(1), Some(2)).unwrap();
    let own = &source.model.metadata;
    for (key, value) in [
        ("model", "mlp"),
        ("model_options", r#"{"hidden":[6]}"#),
        ("dataset", "mnist1d"),
        ("input_shape", "[40]"),
        ("classes", "10"),
        ("normalisation", "null"),
        ("run", "mlp-0"),
        ("identity", "abc"),
        ("seed", "1"),
        ("level", "2"),
        ("weights", "300"),
        ("source", "seed-1/level-02/end.safetensors"),
    ] {
        assert_eq!(own[key], value, "{key}");
    }
    let path = run.seed(1).level(2).file(END);
    assert_eq!(own["source_blake3"], store::digest(&path).unwrap());
    let survivors: u64 = own["survivors"].parse().unwrap();
    assert_eq!(own["density"], (survivors as f64 / 300.0).to_string());
}

#[test]
fn what_is_not_finished_or_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let unfinished = message(&run, Some(0), Some(2));
    assert!(
        unfinished.contains("seed-0/level-02 is not a finished level"),
        "{unfinished}"
    );
    assert!(message(&run, Some(7), None).contains("seed-7/level-00 is not a finished level"));
    assert!(message(&run, None, Some(3)).contains("no seed has level 3 finished"));
    let dense = RunDir::new(PathBuf::from(folder.path()));
    assert!(message(&dense, None, None).contains("holds no experiment.toml"));
}

#[test]
fn a_file_with_another_digest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    for file in [END, MASK] {
        let path = run.seed(0).level(1).file(file);
        let whole = store::read(&path).unwrap();
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        write(&path, &bytes).unwrap();
        let told = message(&run, Some(0), Some(1));
        let expected = format!("{file} is damaged: its BLAKE3 digest is");
        assert!(told.contains(&expected), "{told}");
        write(&path, &whole).unwrap();
    }
    Manifest::of(run.path(), [EXPERIMENT])
        .unwrap()
        .write(run.path(), MANIFEST)
        .unwrap();
    read(&run, None, None).unwrap();
    let text = store::read(&run.file(EXPERIMENT)).unwrap();
    write(&run.file(EXPERIMENT), &[&text[..], b" "].concat()).unwrap();
    assert!(message(&run, None, None).contains("experiment.toml is damaged"));
}

#[test]
fn tensors_that_are_not_the_models_are_refused_with_what_was_expected() {
    for (wrong, expected) in [
        (
            &(|end: &mut BTreeMap<String, Tensor>| {
                end.remove("fc2.bias");
            }) as &dyn Fn(&mut BTreeMap<String, Tensor>),
            "it lacks `fc2.bias`",
        ),
        (
            &|end| {
                end.insert("fc9.bias".to_owned(), Tensor::from_slice(&[1.0f32]));
            },
            "it holds `fc9.bias`, which is not the model's",
        ),
        (
            &|end| {
                let wide = Tensor::from_slice(&[1.0f32; 11]);
                end.insert("fc2.bias".to_owned(), wide);
            },
            "`fc2.bias` has shape [11] and type Float, expected [10] and Float",
        ),
        (
            &|end| {
                let dense = end["fc1.weight"].ones_like();
                end.insert("fc1.weight".to_owned(), dense);
            },
            "`fc1.weight` is not 0 where mask.safetensors prunes it",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        change(&run, wrong);
        let told = message(&run, Some(0), Some(0));
        assert!(told.contains(expected), "{told}");
    }
}
