use std::path::PathBuf;

use super::*;

fn args(data: &str, model: Option<&str>) -> InitArgs {
    InitArgs {
        file: PathBuf::from("some/my \"own\".toml"),
        data: data.to_owned(),
        model: model.map(str::to_owned),
        strategy: "lrr".to_owned(),
    }
}

#[test]
fn every_dataset_and_every_network_give_a_file_that_is_toml() {
    let datasets = DATASETS.iter().map(|it| it.name);
    let datasets =
        datasets.filter(|it| !matches!(*it, "arrays" | "hidden-neuron" | "image-folder"));
    let files = ["table.csv", "some/a b.npz", "x.safetensors", "."];
    for data in datasets.chain(files) {
        let networks = MODELS.iter().map(|it| it.name);
        let networks = networks.filter(|it| !matches!(*it, "pt2" | "hidden-neuron"));
        for model in networks.map(Some).chain([None, Some("c:\\net.pt2")]) {
            let text = text(&args(data, model));
            let text = text.unwrap_or_else(|failure| panic!("{failure}"));
            let table: toml::Table = text
                .parse()
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(table["name"].as_str(), Some("my \"own\""), "{text}");
            assert!(table["data"]["validation"].as_float() > Some(0.0), "{text}");
            if let Some(name) = model.filter(|it| !it.contains('.')) {
                assert_eq!(table["model"]["name"].as_str(), Some(name));
            }
        }
    }
}

#[test]
fn what_is_not_known_is_refused_with_what_is() {
    let said = |args: &InitArgs| text(args).err().unwrap().to_string();
    let data = said(&args("mnist2d", None));
    assert!(
        data.contains("`mnist2d` is no dataset: expected mnist1d, mnist, "),
        "{data}"
    );
    let model = said(&args("mnist1d", Some("resnet-21")));
    assert!(
        model.contains("`resnet-21` is no network: expected mlp, "),
        "{model}"
    );
    assert!(!model.contains("hidden-neuron"), "{model}");
}
