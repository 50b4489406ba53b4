//! The page: what the template is given.

use crate::counted::counted;
use base64::prelude::*;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::chart::{DARK, SERIES, Shift};
use super::explorer::Explorer;
use super::figures::Section;
use super::interval::Interval;
use super::missing::Missing;
use super::paired::measured;
use super::part::Part;
use super::script;
use super::speed::{Speeds, Timed};
use super::theory::Prediction;
use super::verdict::{Judged, Verdict};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Sections with more figures are folded until they are opened.
const MOST_OPEN: usize = 8;

/// All that the template sees.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    parts: &'a [PagePart],
    png: bool,
    /// Class, words and number of each verdict that was given.
    verdicts: Vec<(&'static str, String, usize)>,
    style: &'static str,
    script: String,
    /// Digest of the script, by which the page lets it run and no other.
    script_digest: String,
    series: &'static [&'static str],
    colours: &'static [Shift],
    version: &'static str,
}

/// A part as the template sees it.
#[derive(Serialize)]
pub struct PagePart {
    id: String,
    title: String,
    facts: Vec<String>,
    claims: Vec<ClaimRow>,
    predictions: Vec<PredictionRow>,
    missing: Vec<Missing>,
    /// The runs that were stopped, each in a line.
    stopped: Vec<String>,
    /// What another build of a plugin made.
    builds: Vec<String>,
    /// The numbers that the reader may choose from, as JSON.
    explorer: Option<String>,
    sections: Vec<PageSection>,
    /// How fast its networks run elsewhere, by machine.
    speeds: Vec<PageSpeeds>,
    runs: Vec<RunRow>,
}

#[derive(Serialize)]
struct PageSpeeds {
    machine: String,
    base: &'static str,
    ways: Vec<&'static str>,
    rows: Vec<PageSpeed>,
}

#[derive(Serialize)]
struct PageSpeed {
    network: String,
    /// Seed and level.
    which: String,
    density: String,
    batch: i64,
    base: PageTimed,
    ways: Vec<Option<PageTimed>>,
}

#[derive(Serialize)]
struct PageTimed {
    ms: String,
    times: String,
    /// In quartiles of the turns.
    range: String,
    accuracy: String,
}

#[derive(Serialize)]
struct ClaimRow {
    claim: String,
    combination: String,
    above: String,
    below: String,
    measure: &'static str,
    densities: String,
    levels: usize,
    difference: String,
    interval: String,
    p: String,
    p_holm: String,
    /// Whether the verdict does not stand once all claims are counted.
    is_lost: bool,
    seeds: usize,
    verdict: VerdictMark,
    note: String,
    /// Ends and middle of the interval and 0, as percent of the picture's width.
    picture: Option<[f64; 4]>,
}

#[derive(Serialize)]
struct PredictionRow {
    claim: String,
    seen: String,
    verdict: VerdictMark,
}

#[derive(Serialize)]
struct VerdictMark {
    class: &'static str,
    text: String,
}

#[derive(Serialize)]
struct PageSection {
    title: &'static str,
    text: &'static str,
    open: bool,
    figures: Vec<PageFigure>,
}

#[derive(Serialize)]
struct PageFigure {
    title: String,
    file: String,
    svg: String,
}

#[derive(Serialize)]
struct RunRow {
    name: String,
    method: String,
    folder: String,
    seeds: String,
    identity: String,
    plugins: String,
    text: String,
}

impl From<Verdict> for VerdictMark {
    fn from(verdict: Verdict) -> Self {
        Self {
            class: verdict.word(),
            text: verdict.to_string(),
        }
    }
}

/// Makes the page of these parts.
///
/// # Errors
/// If the template is wrong.
pub fn render(name: &str, parts: &[PagePart], png: bool) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let count = |class: &str| {
        let claims = parts
            .iter()
            .flat_map(|it| &it.claims)
            .map(|it| it.verdict.class);
        let predictions = parts.iter().flat_map(|it| &it.predictions);
        let all = claims.chain(predictions.map(|it| it.verdict.class));
        all.filter(|it| *it == class).count()
    };
    let verdicts: Vec<_> = [
        Verdict::Visible,
        Verdict::NotVisible,
        Verdict::Reversed,
        Verdict::NotDecided,
    ]
    .map(|it| (it.word(), it.to_string(), count(it.word())))
    .into_iter()
    .filter(|it| it.2 > 0)
    .collect();
    // As it stands between the tags: to the last blank.
    let script = format!("\n{}\n", script::whole());
    let digest = BASE64_STANDARD.encode(Sha256::digest(script.as_bytes()));
    let page = Page {
        script_digest: format!("sha256-{digest}"),
        script,
        series: &SERIES,
        name,
        parts,
        png,
        verdicts,
        style: STYLE,
        colours: &DARK,
        version: env!("CARGO_PKG_VERSION"),
    };
    environment.render_str(TEMPLATE, Serde(page))
}

/// A part for the page. Figures have the names of their files.
pub fn page_part(
    id: String,
    part: &Part,
    judged: &[Judged],
    predicted: &[Prediction],
    missing: Vec<Missing>,
    speeds: &[Speeds],
    sections: Vec<Section>,
) -> PagePart {
    PagePart {
        id,
        title: part.title.clone(),
        facts: facts(part),
        claims: claims(judged),
        predictions: (predicted.iter())
            .map(|it| PredictionRow {
                claim: it.claim.clone(),
                seen: it.seen.clone(),
                verdict: it.verdict.into(),
            })
            .collect(),
        missing,
        stopped: part.stops(),
        builds: other_builds(part),
        explorer: Explorer::of(part, SERIES.len()).map(|it| it.json()),
        sections: sections.into_iter().map(section).collect(),
        speeds: speeds.iter().map(page_speeds).collect(),
        runs: part.cells.iter().map(run).collect(),
    }
}

fn page_speeds(speeds: &Speeds) -> PageSpeeds {
    let timed = |it: &Timed| PageTimed {
        ms: format!("{:.3}", it.ms),
        times: format!("{:.2}", it.times[1]),
        range: format!("{:.2} to {:.2}", it.times[0], it.times[2]),
        accuracy: (it.accuracy).map_or_else(String::new, |it| format!("{:.2} %", 100.0 * it)),
    };
    let rows = speeds.rows.iter().map(|it| PageSpeed {
        network: it.network.clone(),
        which: format!("seed {}, level {}", it.seed, it.level),
        density: format!("{:.4}", it.density),
        batch: it.batch,
        base: timed(&it.base),
        ways: it.ways.iter().map(|it| it.as_ref().map(timed)).collect(),
    });
    PageSpeeds {
        machine: speeds.machine.clone(),
        base: speeds.base,
        ways: speeds.ways.clone(),
        rows: rows.collect(),
    }
}

/// What is to be said of levels that another build of a plugin made.
pub fn other_builds(part: &Part) -> Vec<String> {
    let builds = part
        .cells
        .iter()
        .filter_map(|it| it.results.builds.as_ref());
    builds.map(|it| it.note.clone()).collect()
}

fn section(section: Section) -> PageSection {
    PageSection {
        title: section.title,
        text: section.text,
        open: section.figures.len() <= MOST_OPEN,
        figures: (section.figures.into_iter())
            .map(|it| PageFigure {
                title: it.title,
                file: it.name,
                svg: it.svg,
            })
            .collect(),
    }
}

/// What a part consists of, in a few words each.
fn facts(part: &Part) -> Vec<String> {
    let mut facts = Vec::new();
    let many = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    if !part.cells.is_empty() {
        facts.push(many(part.cells.len(), "run"));
        let seeds = part.cells.iter().flat_map(|it| &it.results.seeds);
        let mut seeds: Vec<u64> = seeds.map(|it| it.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        facts.push(many(seeds.len(), "seed"));
        let levels = part.cells.iter().map(|it| it.results.levels()).max();
        facts.push(many(levels.unwrap_or(0) as usize, "level"));
        let mut kinds: Vec<String> = Vec::new();
        for experiment in part
            .cells
            .iter()
            .filter_map(|it| it.results.experiment.as_ref())
        {
            let kind = format!("{} on {}", experiment.model.name, experiment.data.name);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        facts.extend(kinds);
        let seeds = part.cells.iter().flat_map(|it| &it.results.seeds);
        let mut levels = seeds.flat_map(|it| &it.levels);
        if levels.any(|it| it.summary.validation_accuracy.is_some()) {
            facts.push("stated by test samples, chosen by validation samples".to_owned());
        }
    }
    if let Some(Ok(record)) = part.neuron.as_ref().map(|it| &it.record) {
        let inits = record
            .fractions
            .iter()
            .map(|it| it.inits)
            .max()
            .unwrap_or(0);
        facts.push(format!(
            "{} for each dimension and method",
            counted(inits, "init")
        ));
        facts.push(format!("time {} in steps of {}", record.time, record.step));
    }
    facts
}

fn claims(judged: &[Judged]) -> Vec<ClaimRow> {
    // All intervals of a table are drawn on one scale, with 0 in the middle.
    let ends = judged.iter().filter_map(|it| it.difference);
    let reach = ends
        .map(|it| it.mean.abs() + it.half_width.unwrap_or(0.0))
        .fold(0.0, f64::max);
    judged.iter().map(|it| claim(it, reach)).collect()
}

fn claim(judged: &Judged, reach: f64) -> ClaimRow {
    let place = |value: f64| 50.0 + 46.0 * value / reach.max(1e-9);
    let ends =
        |it: &Interval| Some([-1.0, 1.0].map(|sign| it.mean + sign * it.half_width.unwrap_or(0.0)));
    let bounds = judged.difference.as_ref().and_then(ends);
    ClaimRow {
        claim: judged.claim.clone(),
        combination: judged.combination.clone(),
        above: judged.above.clone(),
        below: judged.below.clone(),
        measure: measured(judged.measure),
        densities: match judged.densities {
            Some([low, high]) if low == high => format!("{low:.3}"),
            Some([low, high]) => format!("{low:.3} to {high:.3}"),
            None => String::new(),
        },
        levels: judged.levels.len(),
        difference: judged
            .difference
            .map_or_else(String::new, |it| signed(it.mean)),
        interval: match (judged.difference, bounds) {
            (Some(it), Some([low, high])) if it.half_width.is_some() => {
                format!("{} to {}", signed(low), signed(high))
            }
            _ => String::new(),
        },
        p: judged.p.map_or_else(String::new, p_words),
        p_holm: judged.p_holm.map_or_else(String::new, p_words),
        is_lost: matches!(judged.verdict, Verdict::Visible | Verdict::Reversed)
            && judged.p_holm.is_some_and(|it| it >= 0.05),
        seeds: judged.seeds.len(),
        verdict: judged.verdict.into(),
        note: judged.note.clone(),
        picture: (judged.difference.zip(bounds))
            .map(|(it, [low, high])| [place(low), place(high), place(it.mean), 50.0]),
    }
}

/// A p value in words.
pub fn p_words(p: f64) -> String {
    match p < 0.0001 {
        true => "< 0.0001".to_owned(),
        false => format!("{p:.4}"),
    }
}

/// A share in percentage points, with its sign.
pub fn signed(share: f64) -> String {
    let points = format!("{:+.2}", 100.0 * share);
    match points.as_str() {
        "-0.00" => "+0.00".to_owned(),
        _ => points.replace('-', "\u{2212}"),
    }
}

fn run(cell: &super::part::Cell) -> RunRow {
    let results = &cell.results;
    let text = |it: &serde_json::Value| it.as_str().unwrap_or_default().to_owned();
    let plugins = results.identity["plugins"].as_object();
    let plugins = plugins.into_iter().flatten().map(|(name, plugin)| {
        let digest: String = text(&plugin["blake3"]).chars().take(8).collect();
        format!("{name} {} ({digest})", text(&plugin["version"]))
    });
    let seeds = results.seeds.iter().map(|it| it.seed.to_string());
    RunRow {
        name: cell.name.clone(),
        method: cell.method.clone(),
        folder: results.run.path().display().to_string(),
        seeds: seeds.collect::<Vec<_>>().join(", "),
        identity: text(&results.identity["identity"]),
        plugins: plugins.collect::<Vec<_>>().join(", "),
        text: results.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::Cell;
    use super::super::testing::Desk;
    use super::*;

    #[test]
    fn a_part_says_by_which_samples_it_states_where_others_are_held_out() {
        let mut part = Part {
            name: "runs".to_owned(),
            title: "The runs".to_owned(),
            cells: vec![Cell {
                stopped: None,
                name: "lrr".to_owned(),
                method: "lrr".to_owned(),
                values: Default::default(),
                results: Desk::new().results("lrr"),
            }],
            claims: Vec::new(),
            neuron: None,
            ranks: Default::default(),
        };
        let said = |part: &Part| facts(part).iter().any(|it| it.contains("validation"));
        assert!(!said(&part));
        let level = &mut part.cells[0].results.seeds[0].levels[0];
        level.summary.validation_accuracy = Some(0.5);
        assert!(said(&part));
    }
}
