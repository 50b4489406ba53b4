//! `host report`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::args::{Output, ReportArgs};
use super::exit::{Exit, Failure};
use super::locate::locate;
use super::stdout;
use crate::report::{
    self, Judged, Prediction, ReportError, Subject, Verdict, Written, columns, measured, p_words,
    percent, signed,
};

/// Writes a report of runs or sweeps and prints the verdicts.
///
/// # Errors
/// A folder that is no run, one with nothing finished, or a file that cannot be written.
pub fn report(args: &ReportArgs, output: &Output) -> Result<Exit, Failure> {
    let subjects: Vec<Subject> = (args.run.iter())
        .map(|name| locate(name, &args.runs))
        .collect::<Result<_, _>>()?;
    let out = folder(args, &subjects);
    let written = report::build(&subjects, &out, args.png).map_err(|error| match error {
        ReportError::Empty(..) => Failure::bad_input(error),
        error => Failure::new(Exit::Failed, error),
    })?;
    for it in &written.missing {
        log::warn!("{}: {}; {}", it.what, it.lacks, it.command);
    }
    for note in &written.builds {
        log::warn!("{note}");
    }
    if output.json {
        stdout::line(as_json(&written))?;
        return Ok(Exit::Success);
    }
    let judged = written.claims.len() + written.predictions.len();
    if judged > 0 && !output.quiet {
        stdout::line(format!("{}\n", claims_table(&written)))?;
    }
    stdout::line(written.page.display())?;
    Ok(Exit::Success)
}

/// Where the report goes: as asked for, or into the folder of the only thing that it is about.
fn folder(args: &ReportArgs, subjects: &[Subject]) -> PathBuf {
    if let Some(out) = &args.out {
        return out.clone();
    }
    match subjects {
        [Subject::Run(it) | Subject::Sweep(it) | Subject::Neuron(it)] => it.clone(),
        _ => args.runs.join("report"),
    }
}

fn claims_table(written: &Written) -> String {
    let header = [
        "claim",
        "grid",
        "difference",
        "95 % interval",
        "p, Holm",
        "seeds",
        "verdict",
    ];
    let claims = written.claims.iter().map(|(_, it)| {
        let bounds = it.difference.and_then(|all| {
            let half = all.half_width?;
            Some(format!(
                "{} to {}",
                signed(all.mean - half),
                signed(all.mean + half)
            ))
        });
        vec![
            it.claim.clone(),
            it.combination.clone(),
            it.difference.map_or_else(String::new, |it| signed(it.mean)),
            bounds.unwrap_or_default(),
            it.p_holm.map_or_else(String::new, p_words),
            it.seeds.len().to_string(),
            it.verdict.to_string(),
        ]
    });
    let predictions = written.predictions.iter().map(|(_, it)| {
        let mut row = vec![String::new(); header.len()];
        row[0].clone_from(&it.claim);
        row[6] = it.verdict.to_string();
        row
    });
    let rows = claims.chain(predictions);
    let mut table = columns(header.map(str::to_owned).into(), rows, &[2, 3, 4, 5]);
    let undecided = (written.claims.iter()).filter(|(_, it)| it.verdict == Verdict::NotDecided);
    for (place, (_, it)) in undecided.enumerate() {
        let before = if place == 0 { "\n\n" } else { "\n" };
        let combination = match it.combination.as_str() {
            "" => String::new(),
            combination => format!(" ({combination})"),
        };
        table += &format!("{before} {}{combination}: {}", it.claim, it.note);
    }
    table
}

fn as_json(written: &Written) -> Value {
    let claim = |(part, it): &(String, Judged)| {
        let number = |share: f64| percent(share).parse::<f64>().ok();
        let all = it.difference;
        let bound = |sign: f64| all.and_then(|it| number(it.mean + sign * it.half_width?));
        json!({
            "part": part, "claim": it.claim, "grid": it.combination, "above": it.above,
            "below": it.below, "measure": measured(it.measure), "densities": it.densities,
            "levels": it.levels, "seeds": it.seeds.iter().map(|it| it.0).collect::<Vec<_>>(),
            "difference": all.and_then(|it| number(it.mean)), "low": bound(-1.0),
            "high": bound(1.0), "p": it.p, "p_holm": it.p_holm, "verdict": it.verdict.word(), "note": it.note,
        })
    };
    let prediction = |(part, it): &(String, Prediction)| json!({ "part": part, "claim": it.claim, "seen": it.seen, "verdict": it.verdict.word() });
    json!({
        "report": written.page, "figures": written.figures, "missing": written.missing,
        "other_builds": written.builds,
        "claims": written.claims.iter().map(claim).collect::<Vec<_>>(),
        "predictions": written.predictions.iter().map(prediction).collect::<Vec<_>>(),
    })
}
