//! Files that simulate the hidden neuron.

use super::{Fake, Folder};
use crate::experiment::{FileKind, NeuronFile, kind_of, load_neuron};
use crate::neuron::{Settings, Update, defaults};

fn load(text: &str, overrides: &[&str]) -> Result<NeuronFile, String> {
    let folder = Folder::new(&[("neuron.toml", text)]);
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    load_neuron(&folder.path().join("neuron.toml"), &overrides, &Fake)
        .map_err(|problems| problems.to_string())
}

#[test]
fn what_is_not_said_has_its_default_and_overrides_apply() {
    let file = load(
        "name = \"n\"\n[neuron]\ninits = 7\n",
        &["neuron.scale=0.05"],
    )
    .unwrap();
    let expected = Settings {
        inits: 7,
        scale: 0.05,
        ..Settings::default()
    };
    assert_eq!((file.name.as_str(), file.neuron), ("n", expected));
}

#[test]
fn a_file_or_its_base_says_that_it_is_one() {
    let folder = Folder::new(&[
        ("neuron.toml", "name = \"n\"\n[neuron]\n"),
        ("more.toml", "base = \"neuron.toml\"\nname = \"more\"\n"),
        ("other.toml", super::GOOD),
    ]);
    let is = |name: &str| kind_of(&folder.path().join(name)) == FileKind::Neuron;
    assert_eq!([is("neuron.toml"), is("more.toml")], [true, true]);
    assert_eq!([is("other.toml"), is("none.toml")], [false, false]);
}

#[test]
fn mistakes_are_shown_at_their_places_together() {
    let text =
        "name = \"n\"\nseeds = [0]\n[neuron]\ninit = 5\nstep = 0.7\ndimensions = [2, 0, 2]\n";
    let shown = load(text, &[]).unwrap_err();
    for expected in [
        "neuron.toml:2:1",
        "unknown key `seeds`",
        "neuron.toml:4:1",
        "unknown key `init` in `neuron`",
        "inits",
        "neuron.toml:5:8",
        "`neuron.step`",
        "neuron.toml:6:18",
        "neuron.toml:6:21",
        "twice",
    ] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
}

#[test]
fn an_update_has_the_options_of_its_name_and_changes_the_folder_only_where_it_is_said() {
    let file = load(
        "name = \"n\"\n[neuron]\nupdate = { name = \"sign-in\", inner_scale_w = 0.25 }\n",
        &["neuron.update.inner_scale_a=2"],
    )
    .unwrap();
    let expected = Update::SignIn {
        inner_scale_a: 2.0,
        inner_scale_w: 0.25,
        every: defaults::every(),
    };
    assert_eq!(file.neuron.update, expected);
    assert_ne!(file.neuron.short(), Settings::default().short());
    let gradient = load("name = \"n\"\n[neuron.update]\nname = \"gradient\"\n", &[]).unwrap();
    assert_eq!(gradient.neuron.short(), Settings::default().short());
}

#[test]
fn options_of_another_update_and_steps_too_long_for_one_are_shown_at_their_places() {
    let shown = load(
        "name = \"n\"\n[neuron.update]\nname = \"ham\"\ninner_scale_a = 2.0\n",
        &[],
    )
    .unwrap_err();
    assert!(shown.contains("neuron.toml:4:1"), "{shown}");
    assert!(shown.contains("unknown key `inner_scale_a`"), "{shown}");
    let shown = load("name = \"n\"\n[neuron.update]\nname = \"sam\"\n", &[]).unwrap_err();
    assert!(shown.contains("sign-in"), "{shown}");
    let text = "name = \"n\"\n[neuron]\nstep = 0.01\nupdate = { name = \"ham\", alpha_a = 200 }\n";
    let shown = load(text, &[]).unwrap_err();
    assert!(shown.contains("neuron.toml:3:8"), "{shown}");
    assert!(shown.contains("at most 2.488e-3"), "{shown}");
}

#[test]
fn a_time_shorter_than_a_step_is_shown_at_the_step() {
    let text = "name = \"n\"\n[neuron]\ntime = 0.01\nstep = 0.1\n";
    let shown = load(text, &[]).unwrap_err();
    assert!(shown.contains("neuron.toml:4:8"), "{shown}");
    assert!(shown.contains("between 1 and"), "{shown}");
}
