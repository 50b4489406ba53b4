//! Every kind of mistake with what is shown for it: the golden file `mistakes.txt`.
//!
//! After a wanted change of a message, `BLESS=1 cargo test mistakes` writes the file anew; read the
//! difference before you commit it.

use std::fmt::Write as _;

use super::*;

const REWIND: &str = r#"["lrr/learning-rate", { use = "sign-perturbation/flip", fraction = 0.2 }]"#;

/// A name of 181 characters.
const LONG: &str = concat!(
    "name = \"a",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789",
    "\""
);

/// What is replaced in the good file, and by what.
const MISTAKES: &[(&str, &str)] = &[
    // TOML
    ("epochs = 20", "epochs = "),
    ("epochs = 20", "epochs = 20\nepochs = 3"),
    ("name = \"lrr\"", "name = lrr"),
    ("[prune]", "[prune"),
    ("epochs = 20", "epochs = 1979-05-27"),
    ("epochs = 20", "epochs = 20\nlabel_smoothing = inf"),
    ("seeds = [0, 1]", "seeds = [99999999999999999999]"),
    ("epochs = 20", "epochs = 20\nlabel_smoothing = .2"),
    ("epochs = 20", "epochs = 20\nlabel_smoothing = 1."),
    ("epochs = 20", "epochs = 01"),
    // Keys
    ("levels = 14", "leels = 14"),
    ("epochs = 20", "epoch = 20"),
    ("seeds = [0, 1]\n", ""),
    ("batch_size = 128\n", ""),
    ("[strategy]", "[strategi]"),
    ("seeds = [0, 1]", "seeds = [0, 1]\ndevice = \"cuda\""),
    // Values
    ("epochs = 20", "epochs = \"20\""),
    ("epochs = 20", "epochs = 20.0"),
    ("epochs = 20", "epochs = 0"),
    ("epochs = 20", "epochs = 20\nprecision = \"bf32\""),
    ("epochs = 20", "epochs = 20\nclip_norm = 0"),
    ("epochs = 20", "epochs = 20\nlabel_smoothing = 1.5"),
    ("epochs = 20", "epochs = 20\nchannels_last = 1"),
    ("seeds = [0, 1]", "seeds = [0, 1, 0]"),
    ("seeds = [0, 1]", "seeds = []"),
    ("seeds = [0, 1]", "seeds = [-1, \"2\"]"),
    ("seeds = [0, 1]", "seeds = 3"),
    ("name = \"lrr\"", "name = \"a b\""),
    ("name = \"lrr\"", LONG),
    (
        "levels = 14",
        "levels = 14\nexclude = [\"fc1.weight\", \"fc1.weight\"]",
    ),
    ("{ name = \"sgd\", lr = 0.1 }", "\"sgd\""),
    // Components of the host
    ("name = \"mnist1d\"", "name = \"mnist2d\""),
    ("name = \"mlp\"", "name = \"transformer\""),
    ("\"cosine\"", "\"cosin\""),
    ("\"sgd\"", "\"SGD\""),
    ("name = \"mnist1d\"", "nme = \"mnist1d\""),
    ("name = \"mnist1d\"", "name = \"mnist1d\"\nsize = 3"),
    (
        "name = \"mnist1d\"",
        "name = \"cifar10\"\naugment = { crop = 20, flp = true }",
    ),
    ("hidden = [64]", "hiden = [64]"),
    ("hidden = [64]", "hidden = [64, 0]"),
    ("hidden = [64]", "init = \"kaiming\""),
    ("hidden = [64]", "activation = 3"),
    ("hidden = [64]", "activation = { slope = 2 }"),
    ("hidden = [64]", "activation = { kind = \"leaky-relu\" }"),
    ("hidden = [64]", "activation = { kind = \"leakyrelu\" }"),
    (
        "hidden = [64]",
        "activation = { kind = \"relu\", slope = 2 }",
    ),
    ("lr = 0.1", "lr = -0.1, momentum = 1"),
    (
        "{ name = \"sgd\", lr = 0.1 }",
        "{ name = \"adamw\", betas = [0.9] }",
    ),
    ("\"1ep\"", "\"1 epoch\""),
    // What no schema can say
    ("\"1ep\"", "\"21ep\""),
    ("levels = 14\n", ""),
    ("levels = 14", "levels = 14\ndensities = [0.5]"),
    ("levels = 14", "rate = 0.2\ndensities = [0.5]"),
    ("levels = 14", "levels = 1000000000000"),
    ("levels = 14", "densities = [0.5, 0.6, 0.6, 0, 1.5, 0.1]"),
    (
        "epochs = 20",
        "epochs = 20\nlabel_smoothing = 0.1\nloss = \"binary-cross-entropy\"",
    ),
    // Losses and metrics
    ("epochs = 20", "epochs = 20\nloss = \"cross_entropy\""),
    ("epochs = 20", "epochs = 20\nloss = 3"),
    (
        "epochs = 20",
        "epochs = 20\nloss = { name = \"distilation\", run = \"elsewhere\" }",
    ),
    (
        "epochs = 20",
        "epochs = 20\nloss = { name = \"distillation\", run = \"gone\", temperature = 0, alpha = 2 }",
    ),
    (
        "epochs = 20",
        "epochs = 20\nloss = { name = \"distillation\", level = -1, temprature = 2 }",
    ),
    ("epochs = 20", "epochs = 20\nmetrics = \"nll\""),
    (
        "epochs = 20",
        "epochs = 20\nmetrics = [\"top5\", \"nll\", \"nll\"]",
    ),
    // Strategy
    ("\"imp/magnitude\"", "\"imp/global\""),
    ("\"imp/magnitude\"", "\"imp/magnitud\""),
    ("\"imp/magnitude\"", "\"ipm/magnitude\""),
    ("\"imp/magnitude\"", "\"imp\""),
    ("\"imp/magnitude\"", "\"lrr/magnitude\""),
    ("\"imp/magnitude\"", "5"),
    ("\"imp/magnitude\"", "\"broken/x\""),
    ("score = \"imp/magnitude\"\n", ""),
    (REWIND, "3"),
    (REWIND, "[{ fraction = 0.2 }]"),
    (REWIND, "\"sign-perturbation/flip\""),
    (REWIND, "{ use = \"imp/weights\", too = \"4ep\" }"),
    (REWIND, "[{ use = \"imp/weights\", to = \"4 epochs\" }]"),
    (
        REWIND,
        "[{ use = \"sign-perturbation/flip\", fraction = 2, levels = [1.5] }]",
    ),
    (
        REWIND,
        "[{ use = \"sign-perturbation/flip\", fraction = 0.2, levels = [0] }]",
    ),
    // Above all tables
    (
        "name = \"lrr\"",
        "name = \"lrr\"\nplugins.mine = { pth = \"x\", blake3 = \"00\" }",
    ),
    ("name = \"lrr\"", "name = \"lrr\"\nbase = 3"),
    ("name = \"lrr\"", "name = \"lrr\"\nbase = \"none.toml\""),
    (GOOD, ""),
];

#[test]
fn every_mistake_is_shown_as_in_the_golden_file() {
    let mut shown = String::new();
    for (from, to) in MISTAKES {
        let from = if *from == GOOD { "everything" } else { from };
        let text = match from {
            "everything" => (*to).to_owned(),
            from => changed(from, to),
        };
        let title = format!("{from} => {to}").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "==== {title}\n{}\n", report(&text));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/experiment/tests/mistakes.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &shown).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap();
    for (shown, golden) in shown.split("==== ").zip(golden.split("==== ")) {
        assert_eq!(shown, golden);
    }
    assert_eq!(shown.len(), golden.len());
}

#[test]
fn all_problems_of_a_file_are_shown_together_in_the_order_of_its_lines() {
    let text = changed("levels = 14", "leels = 14")
        .replace("epochs = 20", "epochs = \"20\"")
        .replace("lr = 0.1", "lr = 0.1, moment = 0.9")
        .replace("fraction = 0.2", "fractoin = 0.2");
    let expected = r#"error: `train.epochs` must be a whole number
  --> lrr.toml:12:10
   |
12 | epochs = "20"
   |          ^^^^ found a string
   |
   = note: `train.epochs`: Epochs of a level.

error: unknown key `moment` in `train.optimizer`
  --> lrr.toml:14:39
   |
14 | optimizer = { name = "sgd", lr = 0.1, moment = 0.9 }
   |                                       ^^^^^^ did you mean `momentum`?
   |
   = note: expected one of `lr`, `momentum`, `nesterov` or `weight_decay`

error: unknown key `leels` in `prune`
  --> lrr.toml:18:1
   |
18 | leels = 14
   | ^^^^^ did you mean `levels`?
   |
   = note: expected one of `collapse`, `densities`, `exclude`, `include`, `level_end`, `levels` or `rate`

error: unknown key `fractoin` in `strategy.rewind.1`
  --> lrr.toml:23:66
   |
23 | rewind = ["lrr/learning-rate", { use = "sign-perturbation/flip", fractoin = 0.2 }]
   |                                                                  ^^^^^^^^ did you mean `fraction`?
   |
   = note: expected one of `fraction`, `lasting` or `levels`"#;
    assert_eq!(report(&text), expected);
}

#[test]
fn problems_are_told_to_programs_with_file_line_column_and_key() {
    let text = changed("levels = 14", "leels = 14");
    let problems = load_text(&text).unwrap_err().to_json();
    let problem = &problems[0];
    assert_eq!(problems.as_array().unwrap().len(), 1);
    assert!(problem["file"].as_str().unwrap().ends_with("lrr.toml"));
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&18.into(), &1.into())
    );
    assert_eq!(problem["key"], "prune.leels");
    assert_eq!(problem["nearest"], "levels");
    assert_eq!(problem["category"], "experiment");
    assert_eq!(problem["known"].as_array().unwrap().len(), 7);
}

#[test]
fn colours_appear_only_where_they_are_asked_for() {
    let problems = load_text(&changed("levels = 14", "leels = 14")).unwrap_err();
    assert!(!problems.render(false).contains('\u{1b}'));
    assert!(problems.render(true).contains('\u{1b}'));
}

#[test]
fn a_failing_plugin_is_told_from_a_mistake_in_the_file() {
    let broken = changed("\"imp/magnitude\"", "\"broken/x\"");
    assert!(load_text(&broken).unwrap_err().only_plugin_failures());
    let both = broken.replace("levels = 14", "leels = 14");
    let problems = load_text(&both).unwrap_err();
    assert_eq!(
        (problems.len(), problems.only_plugin_failures()),
        (2, false)
    );
}

#[test]
fn a_plugin_that_fails_is_loaded_and_reported_once() {
    let text = changed("\"imp/magnitude\"", "\"broken/x\"").replace("imp/global", "broken/y");
    assert_eq!(load_text(&text).unwrap_err().len(), 1);
}

#[test]
fn a_plugin_name_that_stands_for_nothing_is_refused_at_its_place() {
    let rest = GOOD.split_once("[strategy]").unwrap().0;
    for (plugin, expected) in [
        (
            "random-mask",
            r#"error: plugin `random-mask` has no default strategy
 --> lrr.toml:1:12
  |
1 | strategy = "random-mask"
  |            ^^^^^^^^^^^^^ name a score, a mask and a rewind instead"#,
        ),
        (
            "lr",
            r#"error: unknown plugin `lr`
 --> lrr.toml:1:12
  |
1 | strategy = "lr"
  |            ^^^^ did you mean `lrr`?
  |
  = note: expected one of `broken`, `imp`, `lrr`, `random-mask`, `sign-perturbation` or `transplant`
  = note: a plugin that is not shipped is named in `[plugins]`: mine = { path = "libmine.so" }"#,
        ),
    ] {
        assert_eq!(
            report(&format!("strategy = \"{plugin}\"\n{rest}")),
            expected
        );
    }
}

#[test]
fn a_schema_that_refers_to_itself_without_end_does_no_harm() {
    let text = format!("plugins.mine.path = \"mine.so\"\n{GOOD}");
    let used = text.replace("\"imp/magnitude\"", "\"mine/endless\"");
    assert!(load_text(&used).is_ok());
    let used = text.replace("\"imp/magnitude\"", "{ use = \"mine/endless\", x = 1 }");
    assert!(report(&used).starts_with("error: unknown key `x` in `strategy.score`"));
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_named() {
    let folder = Folder::new(&[]);
    assert_eq!(
        folder.report("lrr.toml", &[]),
        "error: failed to read `lrr.toml`: No such file or directory (os error 2)"
    );
    fs::write(folder.path().join("lrr.toml"), [0xff, 0xfe]).unwrap();
    assert_eq!(
        folder.report("lrr.toml", &[]),
        "error: failed to read `lrr.toml`: it looks like UTF-16 (little endian), expected UTF-8; save it as \
         UTF-8 in the editor, or write a new file with `iconv -f UTF-16 -t UTF-8 FILE > NEW`"
    );
}

#[test]
fn a_plugin_that_fails_is_reported_where_the_file_names_its_library() {
    let text = changed("\"imp/magnitude\"", "\"broken/x\"");
    let shown = report(&format!(
        "{text}\n[plugins]\nbroken = {{ path = \"libbroken.so\" }}\n"
    ));
    let line = text.lines().count() + 3;
    assert!(shown.contains(&format!("lrr.toml:{line}:19")), "{shown}");
}

#[test]
fn a_terminal_is_shown_what_a_file_says_and_obeys_none_of_it() {
    let hostile = "\\u001b]0;owned\\u0007\\u202e\\n[ERROR] forged";
    let mut text = changed("\"mlp\"", &format!("\"{hostile}\""));
    text = text.replace(
        "score = \"imp/magnitude\"",
        &format!("score = \"{hostile}/x\""),
    );
    let shown = report(&text);
    assert!(
        shown.contains("\\u001b]0;owned\\u0007\\u202e\\u000a[ERROR] forged"),
        "{shown}"
    );
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!shown.contains(obeyed), "{shown:?}");
    assert!(
        shown.lines().all(|line| !line.starts_with("[ERROR]")),
        "{shown}"
    );
}
