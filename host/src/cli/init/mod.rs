//! `host init`.

use std::path::Path;

use minijinja::{Environment, context};
use serde_json::json;

use super::args::{InitArgs, Output};
use super::exit::{Exit, Failure};
use super::stdout;
use crate::data::DATASETS;
use crate::model::MODELS;
use crate::program;
use crate::store;
use crate::strategy::{Loader, Trust};

const TEMPLATE: &str = include_str!("experiment.toml.j2");

/// What suits a dataset that is known by its name.
struct Suited {
    model: &'static str,
    epochs: u64,
    /// How images are augmented, if they are.
    augment: &'static str,
}

/// Writes a commented experiment for some data and a network.
///
/// # Errors
/// Data, a network or a strategy that are not known, and a file that is there already or cannot be written.
pub fn init(args: &InitArgs, output: &Output) -> Result<Exit, Failure> {
    check_strategy(&args.strategy).map_err(Failure::bad_input)?;
    let text = text(args)?;
    if args.file.exists() {
        return Err(Failure::bad_input(format!(
            "{} is there already: name another file, or remove it",
            args.file.display()
        )));
    }
    store::write(&args.file, text.as_bytes()).map_err(|error| Failure::new(Exit::Failed, error))?;
    let (program, file) = (program::name(), args.file.display());
    stdout::line(match output.json {
        true => json!({ "event": "init", "file": args.file }).to_string(),
        false => format!(
            "wrote {file}; look at it, then\n\n  {program} plan {file}\n  {program} run {file}"
        ),
    })?;
    Ok(Exit::Success)
}

/// The experiment file.
///
/// # Errors
/// What is not known, with what is.
fn text(args: &InitArgs) -> Result<String, Failure> {
    let (data, suited) = data(&args.data).map_err(Failure::bad_input)?;
    let chosen = args.model.as_deref().unwrap_or(suited.model);
    let model = model(chosen).map_err(Failure::bad_input)?;
    let name = args.file.file_stem().unwrap_or_default().to_string_lossy();
    let rendered = Environment::new().render_str(
        TEMPLATE,
        context! {
            program => program::name(),
            file => args.file.display().to_string(),
            name => quoted(&name),
            strategy => quoted(&args.strategy),
            data => data,
            model => model,
            epochs => suited.epochs,
            adamw => chosen.starts_with("vit"),
        },
    );
    let mut text = rendered.map_err(|error| Failure::new(Exit::Failed, error))?;
    text.push('\n');
    Ok(text)
}

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The lines of `[data]`, and what suits it: a dataset's name, a folder of pictures, or a file of arrays.
fn data(name: &str) -> Result<(Vec<String>, Suited), String> {
    if let Some(suited) = suited(name) {
        let mut lines = vec![format!("name = {}", quoted(name))];
        if !suited.augment.is_empty() {
            lines.push(format!("augment = {}", suited.augment));
        }
        return Ok((lines, suited));
    }
    let path = Path::new(name);
    let is_arrays = path.extension().is_some_and(|it| {
        ["csv", "npz", "safetensors"]
            .iter()
            .any(|known| it == *known)
    });
    if is_arrays {
        let mut lines = vec![
            "name = \"arrays\"".to_owned(),
            format!("train = {}", quoted(name)),
            "test = 0.2  # of the samples, or a file of its own".to_owned(),
        ];
        if name.ends_with(".csv") {
            lines.push(
                "standardise = true  # columns of mean 0 and variance 1, by the training samples"
                    .to_owned(),
            );
            lines.push(
                "# target = \"NAME\"  # the column to be learnt, if it has no usual name"
                    .to_owned(),
            );
            lines.push("# categories = \"one-hot\"  # where columns hold words".to_owned());
            lines.push("# missing = \"mean\"  # where cells are empty".to_owned());
        }
        let suited = Suited {
            model: "mlp",
            epochs: 20,
            augment: "",
        };
        return Ok((lines, suited));
    }
    if path.is_dir() {
        let lines = vec![
            "name = \"image-folder\"".to_owned(),
            format!("dir = {}", quoted(name)),
        ];
        return Ok((
            lines,
            Suited {
                model: "resnet-18",
                epochs: 30,
                augment: "",
            },
        ));
    }
    let known: Vec<&str> = DATASETS
        .iter()
        .map(|it| it.name)
        .filter(|it| suited(it).is_some())
        .collect();
    Err(format!(
        "`{name}` is no dataset: expected {}, a folder of pictures (train/CLASS/*.jpg, val/CLASS/*.jpg), or a file \
         .csv, .npz or .safetensors",
        known.join(", ")
    ))
}

fn suited(dataset: &str) -> Option<Suited> {
    let (model, epochs, augment) = match dataset {
        "mnist1d" => ("mlp", 20, ""),
        "mnist" | "fashion-mnist" => ("lenet-300-100", 10, ""),
        "cifar10" | "cifar100" => ("resnet-20", 30, "{ crop = 4, flip = true }"),
        "tiny-imagenet" => ("resnet-18", 30, "{ crop = 8, flip = true }"),
        _ => return None,
    };
    Some(Suited {
        model,
        epochs,
        augment,
    })
}

/// The lines of `[model]`: a network's name, or an archive of PyTorch's.
fn model(name: &str) -> Result<Vec<String>, String> {
    let takes_options = |it: &str| matches!(it, "pt2" | "hidden-neuron");
    let known: Vec<&str> = MODELS
        .iter()
        .map(|it| it.name)
        .filter(|it| !takes_options(it))
        .collect();
    if name.ends_with(".pt2") {
        return Ok(vec![
            "name = \"pt2\"".to_owned(),
            format!("file = {}", quoted(name)),
        ]);
    }
    if !known.contains(&name) {
        return Err(format!(
            "`{name}` is no network: expected {}, or an archive of PyTorch's, such as net.pt2",
            known.join(", ")
        ));
    }
    let mut lines = vec![format!("name = {}", quoted(name))];
    if name == "mlp" {
        lines.push("hidden = [128, 128]".to_owned());
        lines.push("batch_norm = true".to_owned());
    }
    Ok(lines)
}

fn check_strategy(name: &str) -> Result<(), String> {
    let known = Loader::for_this_program(Trust::Own).names();
    match known.iter().any(|it| it == name) {
        true => Ok(()),
        false => Err(format!(
            "there is no plugin `{name}`: expected one of {}",
            known.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests;
