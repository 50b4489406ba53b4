//! `--set`.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn good() -> Folder {
    Folder::new(&[("lrr.toml", GOOD)])
}

fn set(overrides: &[&str]) -> Loaded {
    let loaded = good().load("lrr.toml", overrides);
    loaded.unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(overrides: &[&str]) -> String {
    good().report("lrr.toml", overrides)
}

#[test]
fn values_are_toml_or_else_strings() {
    let set = set(&[
        "train.epochs=5",
        "train.optimizer.lr = 1e-2 ",
        "train.schedule.warmup=2ep",
        "model.hidden=[32, 16]",
        "train.precision=\"bf16\"",
        "name=a-b",
        "model.init=kaiming-normal",
        "train.optimizer.nesterov=true",
    ]);
    let experiment = set.experiment;
    assert_eq!(experiment.train.epochs, 5);
    assert_eq!(experiment.train.optimizer.options["lr"], 0.01);
    assert_eq!(experiment.train.optimizer.options["nesterov"], true);
    assert_eq!(experiment.train.schedule.options["warmup"], "2ep");
    assert_eq!(experiment.model.options["hidden"], json!([32, 16]));
    assert_eq!(experiment.name, "a-b");
}

#[test]
fn the_last_of_two_values_for_a_key_counts() {
    let set = set(&["train.epochs=5", "train.epochs=6"]);
    assert_eq!(set.experiment.train.epochs, 6);
}

#[test]
fn numbers_reach_into_lists_and_the_one_behind_the_end_adds() {
    let set = set(&[
        "strategy.rewind.1.fraction=0.4",
        "strategy.rewind.0.batch_norm_affine=init",
        "strategy.rewind.2=imp/weights",
        "seeds.1=9",
    ]);
    let rewind = serde_json::to_value(&set.experiment.strategy.rewind).unwrap();
    assert_eq!(
        rewind,
        json!([
            { "use": "lrr/learning-rate", "batch_norm_affine": "init" },
            { "use": "sign-perturbation/flip", "fraction": 0.4 },
            { "use": "imp/weights" },
        ])
    );
    assert_eq!(set.experiment.seeds, [0, 9]);
}

#[test]
fn the_short_forms_of_a_strategy_can_be_reached_into() {
    let rest = GOOD.split_once("[strategy]").unwrap().0;
    let folder = Folder::new(&[("lrr.toml", &format!("strategy = \"lrr\"\n{rest}"))]);
    let loaded = folder.load("lrr.toml", &["strategy.rewind.0.batch_norm_affine=init"]);
    let strategy = loaded.unwrap().experiment.strategy;
    assert_eq!(strategy.rewind[0].options["batch_norm_affine"], "init");
    assert_eq!(strategy.score.component, "imp/magnitude");
    let set = set(&["strategy.rewind.0.to=4ep", "strategy.rewind=imp/weights"]);
    assert_eq!(set.experiment.strategy.rewind[0].options["to"], "4ep");
}

#[test]
fn another_component_is_chosen_before_its_options_are_set() {
    let set = set(&["model.width=8", "model.name=cnn1d"]);
    assert_eq!(
        set.experiment.model.options,
        json!({ "width": 8 }).as_object().unwrap().clone()
    );
}

#[test]
fn densities_take_the_place_of_levels() {
    let set = set(&["prune.densities=[0.5, 0.1]"]);
    assert_eq!(set.experiment.densities(), [1.0, 0.5, 0.1]);
}

#[test]
fn a_plugin_can_be_named_and_used_at_once() {
    let set = set(&[
        "strategy.score=mine/endless",
        "plugins.mine.path=target/libmine.so",
    ]);
    let here = std::env::current_dir().unwrap();
    let path = &set.experiment.plugins["mine"].path;
    assert_eq!(path, &here.join("target/libmine.so"));
}

#[test]
fn mistakes_are_shown_in_a_file_called_set() {
    for (given, expected) in [
        (
            "train.epohcs=5",
            "error: unknown key `epohcs` in `train`
 --> --set:2:7
  |
2 | train.epohcs=5
  |       ^^^^^^ did you mean `epochs`?
  |
  = note: expected one of `accumulate`, `batch_size`, `channels_last`, `clip_norm`, `compact`, `epochs`, `evaluate_every`, `label_smoothing`, `loss`, `metrics`, `optimizer`, `precision`, `schedule`, `shards`, `sparse_below` or `sync_batch_norm`",
        ),
        (
            "trian.epochs=5",
            "error: unknown key `trian`
 --> --set:2:1
  |
2 | trian.epochs=5
  | ^^^^^ did you mean `train`?
  |
  = note: expected one of `base`, `data`, `model`, `name`, `plugins`, `prune`, `seeds`, `strategy` or `train`",
        ),
        (
            "train.epochs= five",
            "error: `train.epochs` must be a whole number
 --> --set:2:15
  |
2 | train.epochs= five
  |               ^^^^ found a string
  |
  = note: `train.epochs`: Epochs of a level.",
        ),
        (
            "train.epochs.max=5",
            "error: `train.epochs` is a whole number, not a table
 --> --set:2:14
  |
2 | train.epochs.max=5
  |              ^^^ no key can be set in it",
        ),
        (
            "strategy.rewind.5.fraction=0.1",
            "error: `strategy.rewind` has no element `5`
 --> --set:2:17
  |
2 | strategy.rewind.5.fraction=0.1
  |                 ^ expected 0 to 1, or 2, which adds one",
        ),
        (
            "train.epochs",
            "error: `train.epochs` sets nothing
 --> --set:2:1
  |
2 | train.epochs
  | ^^^^^^^^^^^^ expected `key=value`, such as `train.epochs=5`",
        ),
        (
            "seeds=[1, 2",
            "error: unclosed array, expected `]`
 --> --set:2:12
  |
2 | seeds=[1, 2
  |            ^",
        ),
        (
            "name=2024",
            "error: `name` must be a string
 --> --set:2:6
  |
2 | name=2024
  |      ^^^^ found a whole number
  |
  = note: `name`: Name of the run's folder.",
        ),
    ] {
        assert_eq!(refused(&["seeds=[1]", given]), expected);
    }
}

/// Keys of the good file: as it writes them, and as an override does.
const KEYS: &[(&str, &str, &str)] = &[
    ("name = ", "\"lrr\"", "name"),
    ("seeds = ", "[0, 1]", "seeds"),
    ("hidden = ", "[64]", "model.hidden"),
    ("epochs = ", "20", "train.epochs"),
    ("batch_size = ", "128", "train.batch_size"),
    ("lr = ", "0.1", "train.optimizer.lr"),
    ("warmup = ", "\"1ep\"", "train.schedule.warmup"),
    ("levels = ", "14", "prune.levels"),
    ("score = ", "\"imp/magnitude\"", "strategy.score"),
    ("fraction = ", "0.2", "strategy.rewind.1.fraction"),
];

fn value_of(key: &'static str) -> BoxedStrategy<String> {
    match key {
        "name" => "[A-Za-z0-9][A-Za-z0-9._-]{0,8}"
            .prop_map(|it| format!("{it:?}"))
            .boxed(),
        "seeds" => prop::collection::btree_set(any::<u64>(), 1..4)
            .prop_map(|it| format!("{:?}", it.into_iter().collect::<Vec<_>>()))
            .boxed(),
        "model.hidden" => prop::collection::vec(1u16.., 0..4)
            .prop_map(|it| format!("{it:?}"))
            .boxed(),
        "train.epochs" | "train.batch_size" => (1u64..).prop_map(|it| it.to_string()).boxed(),
        "train.optimizer.lr" => (0.0..1e9f64).prop_map(|it| format!("{it:?}")).boxed(),
        // Not longer than an epoch, which is what training lasts at least.
        "train.schedule.warmup" => any::<u64>().prop_map(|it| format!("\"{it}it\"")).boxed(),
        "prune.levels" => (0u64..=10_000).prop_map(|it| it.to_string()).boxed(),
        "strategy.score" => Just("{ use = \"imp/magnitude\" }".to_owned()).boxed(),
        _ => (0.0..=1.0f64).prop_map(|it| format!("{it:?}")).boxed(),
    }
}

fn changes() -> impl Strategy<Value = Vec<(usize, String)>> {
    let chosen = prop::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 0..=KEYS.len());
    let with_values = chosen.prop_flat_map(|keys| {
        keys.into_iter()
            .map(|key| (Just(key), value_of(KEYS[key].2)))
            .collect::<Vec<_>>()
    });
    with_values.prop_shuffle()
}

proptest! {
    #[test]
    fn overrides_are_what_editing_the_file_would_be_and_the_result_is_its_own_file(changes in changes()) {
        let mut edited = GOOD.to_owned();
        let mut given = Vec::new();
        for (key, value) in &changes {
            let (before, old, dotted) = KEYS[*key];
            let line = format!("{before}{old}");
            prop_assert!(edited.contains(&line), "{line}");
            edited = edited.replacen(&line, &format!("{before}{value}"), 1);
            given.push(format!("{dotted}={value}"));
        }
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let (set, edited) = (set(&given), load_text(&edited).unwrap());
        prop_assert_eq!(&set.text, &edited.text);
        prop_assert_eq!(&set.experiment, &edited.experiment);
        let identity = |loaded: &Loaded| crate::experiment::identity(loaded, "data", None).hash;
        prop_assert_eq!(identity(&set), identity(&edited));
        // Written out and read again, nothing changes any more.
        let again = load_text(&set.text).unwrap();
        prop_assert_eq!(&again.text, &set.text);
        prop_assert_eq!(&again.experiment, &set.experiment);
        prop_assert_eq!(identity(&again), identity(&set));
        let kept = crate::experiment::stored(set.text.as_bytes()).unwrap();
        prop_assert_eq!(kept, set.experiment);
    }
}
