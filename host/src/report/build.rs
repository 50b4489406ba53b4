//! A whole report: read, judged, drawn and written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::chart::{ChartError, Renderer};
use super::exports::{claims_csv, latencies_csv, merge};
use super::figures::{self, Figure, FigureError};
use super::holm::correct;
use super::missing::{Missing, missing};
use super::page::{other_builds, page_part, render};
use super::part::{Part, agree_on_colours, name_of};
use super::speed::{speeds, timings};
use super::theory::{Prediction, Simulation, predict};
use super::verdict::{Judged, judge};
use crate::records::SweepRecord;
use crate::store::{self, Manifest, REPORT_MANIFEST, StoreError};

/// What a report is about: folders that are there.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A run.
    Run(PathBuf),
    /// A sweep.
    Sweep(PathBuf),
    /// A simulation of the hidden neuron.
    Neuron(PathBuf),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of a sweep, or one of the report.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A figure.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A figure as PNG.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// A table.
    #[error("failed to write a table: {0}")]
    Csv(#[from] csv::Error),
    /// The page.
    #[error("failed to make the page: {0}")]
    Page(#[from] minijinja::Error),
    /// There is nothing to report of.
    #[error("no level of {0} is finished yet: nothing can be reported. {1}")]
    Empty(String, String),
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// Names of the figures.
    pub figures: Vec<String>,
    /// The claims of all parts, each with its part's name.
    pub claims: Vec<(String, Judged)>,
    /// What the theory of the hidden neuron claims, each with its part's name.
    pub predictions: Vec<(String, Prediction)>,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// What another build of a plugin made.
    pub builds: Vec<String>,
}

/// A part, and the sweep that it belongs to.
struct Owned {
    part: Part,
    sweep: Option<PathBuf>,
}

/// Writes `report.html` and the folder `figures` into a folder.
///
/// # Errors
/// If a sweep cannot be read, nothing is finished yet, or a file cannot be written.
pub fn build(subjects: &[Subject], out: &Path, png: bool) -> Result<Written, ReportError> {
    let (name, parts) = read(subjects)?;
    let each: Vec<Vec<Missing>> = (parts.iter())
        .map(|it| missing(&it.part, it.sweep.as_deref()))
        .collect();
    let lacking: Vec<Missing> = each.iter().flatten().cloned().collect();
    if parts.iter().all(|it| is_empty(&it.part)) {
        let command = lacking
            .first()
            .map_or_else(String::new, |it| format!("Try: {}", it.command));
        return Err(ReportError::Empty(name, command));
    }
    let folder = out.join("figures");
    Manifest::remove(out, REPORT_MANIFEST)?;
    let renderer = png.then(Renderer::new);
    let mut names = BTreeSet::new();
    let mut written = Vec::new();
    let (mut pages, mut claims, mut predictions) = (Vec::new(), Vec::new(), Vec::new());
    let mut timed = Vec::new();
    let mut all_judged: Vec<Vec<Judged>> = parts.iter().map(|it| judge(&it.part)).collect();
    correct(&mut all_judged);
    for ((owned, missing), judged) in parts.iter().zip(each).zip(all_judged) {
        let part = &owned.part;
        let mut sections = figures::draw(part)?;
        for figure in sections.iter_mut().flat_map(|it| &mut it.figures) {
            figure.name = unique(&mut names, &figure.name);
            written.push(figure.name.clone());
        }
        let own: Vec<&Figure> = sections.iter().flat_map(|it| &it.figures).collect();
        write_figures(&own, &folder, renderer.as_ref())?;
        let predicted = match &part.neuron {
            Some(Simulation {
                record: Ok(record), ..
            }) => predict(record),
            _ => Vec::new(),
        };
        let id = unique(&mut names, &format!("part {}", part.name));
        let own = timings(part);
        let speeds = speeds(&own);
        timed.extend((own.into_iter()).map(|(run, it)| (part.name.clone(), run, it)));
        pages.push(page_part(
            id, part, &judged, &predicted, missing, &speeds, sections,
        ));
        claims.extend(judged.into_iter().map(|it| (part.name.clone(), it)));
        predictions.extend(predicted.into_iter().map(|it| (part.name.clone(), it)));
    }
    let all: Vec<&Part> = parts.iter().map(|it| &it.part).collect();
    store::write(&folder.join("summary.csv"), &merge(&all)?)?;
    store::write(
        &folder.join("claims.csv"),
        &claims_csv(&claims, &predictions)?,
    )?;
    let mut tables = vec!["summary.csv".to_owned(), "claims.csv".to_owned()];
    if let Some(latencies) = latencies_csv(&timed)? {
        tables.push("latencies.csv".to_owned());
        store::write(&folder.join("latencies.csv"), &latencies)?;
    }
    let page = out.join("report.html");
    store::write(&page, render(&name, &pages, png)?.as_bytes())?;
    let endings: &[&str] = if png {
        &["svg", "csv", "png"]
    } else {
        &["svg", "csv"]
    };
    let files =
        (written.iter()).flat_map(|name| endings.iter().map(move |it| format!("{name}.{it}")));
    let files = files.chain(tables).map(|file| format!("figures/{file}"));
    let all = files.chain(["report.html".to_owned()]);
    Manifest::of(out, all)?.write(out, REPORT_MANIFEST)?;
    Ok(Written {
        page,
        figures: written,
        claims,
        predictions,
        missing: lacking,
        builds: parts.iter().flat_map(|it| other_builds(&it.part)).collect(),
    })
}

/// Writes the files of figures, several at a time: most of the time is the disk's.
fn write_figures(
    figures: &[&Figure],
    folder: &Path,
    renderer: Option<&Renderer>,
) -> Result<(), ReportError> {
    figures.par_iter().try_for_each(|figure| {
        let file = |ending: &str| folder.join(format!("{}.{ending}", figure.name));
        store::write(&file("svg"), figure.svg.as_bytes())?;
        store::write(&file("csv"), &figure.csv)?;
        if let Some(renderer) = renderer {
            store::write(&file("png"), &renderer.render(&figure.title, &figure.svg)?)?;
        }
        Ok(())
    })
}

/// Reads what is to be reported: a sweep's parts each for itself, runs together as one.
fn read(subjects: &[Subject]) -> Result<(String, Vec<Owned>), StoreError> {
    let mut parts = Vec::new();
    let mut runs = Vec::new();
    let mut names = Vec::new();
    for subject in subjects {
        match subject {
            Subject::Run(folder) => {
                names.push(name_of(folder));
                runs.push(folder.clone());
            }
            Subject::Neuron(folder) => {
                names.push(name_of(folder));
                parts.push(Owned {
                    part: Part {
                        name: name_of(folder),
                        title: "The single hidden neuron".to_owned(),
                        cells: Vec::new(),
                        claims: Vec::new(),
                        neuron: Some(Simulation::read(folder)),
                        ranks: Default::default(),
                    },
                    sweep: None,
                });
            }
            Subject::Sweep(folder) => {
                let record = SweepRecord::read(folder)?;
                names.push(record.name.clone());
                let own = Part::all_of_sweep(folder, &record).into_iter();
                parts.extend(own.map(|part| Owned {
                    part,
                    sweep: Some(record.file.clone()),
                }));
            }
        }
    }
    if !runs.is_empty() {
        let part = Part::of_runs(&runs);
        parts.insert(0, Owned { part, sweep: None });
    }
    agree_on_colours(parts.iter_mut().map(|it| &mut it.part));
    Ok((names.join(", "), parts))
}

fn is_empty(part: &Part) -> bool {
    let simulated = part.neuron.as_ref().is_some_and(|it| it.record.is_ok());
    !simulated && part.cells.iter().all(|it| it.results.levels() == 0)
}

/// A name for files: letters, digits and single dashes, and no other figure's.
fn unique(names: &mut BTreeSet<String>, name: &str) -> String {
    let mut plain = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        match letter {
            // A file whose name begins with a dot is hidden.
            '.' if plain.is_empty() => {}
            'a'..='z' | '0'..='9' | '.' => plain.push(letter),
            _ if plain.ends_with('-') || plain.is_empty() => {}
            _ => plain.push('-'),
        }
    }
    let plain: String = plain
        .trim_end_matches(['-', '.'])
        .chars()
        .take(100)
        .collect();
    let plain = if plain.is_empty() {
        "figure".to_owned()
    } else {
        plain
    };
    let numbered = |number: usize| match number {
        1 => plain.clone(),
        number => format!("{plain}-{number}"),
    };
    let free = (1..).map(numbered).find(|it| !names.contains(it));
    let free = free.unwrap_or(plain.clone());
    names.insert(free.clone());
    free
}

#[cfg(test)]
mod tests;
