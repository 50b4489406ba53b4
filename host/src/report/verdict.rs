//! Claims, judged.

use std::fmt;

use super::Interval;
use super::interval::p_value;
use super::paired::seed_difference;
use super::part::{Cell, Combination, Part};
use super::results::Results;
use crate::experiment::{Claim, Measure};

/// Whether a claim can be seen in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval lies above 0.
    Visible,
    /// The interval holds 0.
    NotVisible,
    /// The whole interval lies below 0.
    Reversed,
    /// There are too few data.
    NotDecided,
}

impl Verdict {
    /// Judges an interval; one without a width decides nothing.
    pub fn of(difference: &Interval) -> Self {
        match difference.half_width {
            None => Self::NotDecided,
            Some(half) if difference.mean - half > 0.0 => Self::Visible,
            Some(half) if difference.mean + half < 0.0 => Self::Reversed,
            Some(_) => Self::NotVisible,
        }
    }

    /// As one word, for CSV and classes of the page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Visible => "visible",
            Self::NotVisible => "not-visible",
            Self::Reversed => "reversed",
            Self::NotDecided => "not-decided",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.word().replace('-', " "))
    }
}

/// A claim at one combination of a grid's values.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The claim in words.
    pub claim: String,
    /// The grid's values in words; empty without a grid.
    pub combination: String,
    /// The method that is claimed to be above.
    pub above: String,
    /// The method that is claimed to be below.
    pub below: String,
    /// What is compared.
    pub measure: Measure,
    /// Least and greatest density of the levels that are compared; none without a level.
    pub densities: Option<[f64; 2]>,
    /// The levels that are compared.
    pub levels: Vec<u64>,
    /// Seeds with all these levels, and their mean difference over them.
    pub seeds: Vec<(u64, f64)>,
    /// Mean over these seeds.
    pub difference: Option<Interval>,
    /// Two-sided p value of Student's test that it is 0; none with fewer than two seeds.
    pub p: Option<f64>,
    /// The same, adjusted for the number of the report's claims.
    pub p_holm: Option<f64>,
    /// The verdict, of this claim by itself.
    pub verdict: Verdict,
    /// What is missing; empty if nothing is.
    pub note: String,
}

/// Judges a part's claims, each at every combination of its grid's values.
///
/// For each seed the mean over the levels in the claim's range of densities of (above - below) is
/// taken; the interval is Student's over seeds.
pub fn judge(part: &Part) -> Vec<Judged> {
    let combinations = part.combinations();
    let each = part.claims.iter().flat_map(|claim| {
        let own = combinations.iter();
        own.map(move |combination| judge_one(claim, combination))
    });
    each.collect()
}

fn judge_one(claim: &Claim, combination: &Combination<'_>) -> Judged {
    let mut judged = Judged {
        claim: claim.claim.clone(),
        combination: combination.label.clone(),
        above: claim.above.clone(),
        below: claim.below.clone(),
        measure: claim.measure,
        densities: None,
        levels: Vec::new(),
        seeds: Vec::new(),
        difference: None,
        p: None,
        p_holm: None,
        verdict: Verdict::NotDecided,
        note: String::new(),
    };
    let of = |method: &str| {
        let cell = combination.cell(method);
        cell.ok_or_else(|| format!("there is no method `{method}` here"))
    };
    let cells = match (of(&claim.above), of(&claim.below)) {
        (Ok(above), Ok(below)) => [above, below],
        (Err(note), _) | (_, Err(note)) => {
            judged.note = note;
            return judged;
        }
    };
    let [above, below] = cells.map(|it| &it.results);
    match levels_in_range(claim, above, below) {
        Ok(levels) => judged.levels = levels,
        Err(note) => {
            judged.note = note;
            return judged;
        }
    }
    let is_cut = |cell: &&&Cell| {
        let last = cell.stopped.as_ref().map(|it| it.level);
        let past = last.zip(judged.levels.last());
        let lacks = |end: u64| {
            let mut seeds = cell.results.seeds.iter();
            seeds.any(|it| it.levels.len() as u64 <= end)
        };
        past.is_some_and(|(last, end)| last < *end && lacks(*end))
    };
    let cut: Vec<String> = (cells.iter())
        .filter(is_cut)
        .filter_map(|cell| Some(format!("{} was {}", cell.method, cell.stopped.as_ref()?)))
        .collect();
    let ends = [judged.levels.last(), judged.levels.first()];
    judged.densities = match ends.map(|level| compared(above, below, *level?)[0]) {
        [Some(low), Some(high)] => Some([low, high]),
        _ => None,
    };
    judge_seeds(&mut judged, above, below);
    if !cut.is_empty() {
        // That seeds lack levels is said by this.
        judged.note = cut.join("; ");
    }
    judged
}

/// The levels whose density a claim speaks of, whether they are finished or not.
fn levels_in_range(claim: &Claim, above: &Results, below: &Results) -> Result<Vec<u64>, String> {
    let count = |results: &Results| results.wanted().unwrap_or(0).max(results.levels());
    let [low, high] = claim.densities.unwrap_or([0.0, 1.0]);
    let mut levels = Vec::new();
    for level in 1..count(above).max(count(below)) {
        let [first, second] = compared(above, below, level);
        let inside = |density: Option<f64>| density.is_some_and(|it| low <= it && it <= high);
        if !inside(first) && !inside(second) {
            continue;
        }
        match (first, second) {
            (Some(a), Some(b)) if is_same(a, b) => levels.push(level),
            (Some(a), Some(b)) => {
                return Err(format!(
                    "the two have other densities at level {level}: {a:.4} and {b:.4}"
                ));
            }
            _ => return Err(format!("level {level} is planned for one of the two only")),
        }
    }
    match levels.is_empty() {
        true => Err(format!("no level has a density from {low} to {high}")),
        false => Ok(levels),
    }
}

/// Whether two methods have one density at a level, so that they can be compared there.
pub fn comparable(above: &Results, below: &Results, level: u64) -> bool {
    matches!(compared(above, below, level), [Some(a), Some(b)] if is_same(a, b))
}

/// A weight more or less is a matter of rounding, not of another density.
fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 0.01 * a.max(b)
}

/// The densities by which two methods' levels are compared. Where both prune whole units, so many by one measure, that is
/// the share of it that they are to keep: other units of the same number have other numbers of weights.
fn compared(above: &Results, below: &Results, level: u64) -> [Option<f64>; 2] {
    match [above, below].map(|it| it.share_of_units(level)) {
        [Some((first, a)), Some((second, b))] if first == second => [Some(a), Some(b)],
        _ => [above.density(level), below.density(level)],
    }
}

fn judge_seeds(judged: &mut Judged, above: &Results, below: &Results) {
    let mut seeds: Vec<u64> = above.seeds.iter().map(|it| it.seed).collect();
    seeds.extend(below.seeds.iter().map(|it| it.seed));
    seeds.sort_unstable();
    seeds.dedup();
    let mut left_out = Vec::new();
    for seed in seeds {
        match seed_difference(above, below, judged.measure, seed, &judged.levels) {
            Some(difference) => judged.seeds.push((seed, difference)),
            None => left_out.push(seed.to_string()),
        }
    }
    let differences: Vec<f64> = judged.seeds.iter().map(|it| it.1).collect();
    judged.difference = Interval::of(&differences);
    judged.p = p_value(&differences);
    judged.verdict = (judged.difference.as_ref()).map_or(Verdict::NotDecided, Verdict::of);
    if !left_out.is_empty() {
        let (noun, verb) = match left_out.len() {
            1 => ("seed", "lacks"),
            _ => ("seeds", "lack"),
        };
        judged.note = format!("{noun} {} {verb} some of these levels", left_out.join(", "));
    }
    if judged.seeds.len() < 2 {
        let there = match judged.seeds.len() {
            0 => "no seed has".to_owned(),
            n => format!("only {n} seed has"),
        };
        let more = format!("{there} all levels of both; two are needed");
        judged.note = match judged.note.is_empty() {
            true => more,
            false => format!("{more}; {}", judged.note),
        };
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::Measure as Counted;

    use super::super::testing::Desk;
    use super::*;
    use crate::records::KeptUnits;

    fn claim(above: &str, below: &str, densities: Option<[f64; 2]>) -> Claim {
        Claim {
            claim: format!("{above} is above {below}"),
            above: above.to_owned(),
            below: below.to_owned(),
            measure: Measure::TestAccuracy,
            densities,
        }
    }

    fn judged(desk: &Desk, claim: Claim) -> Judged {
        let mut part = desk.part();
        part.claims = vec![claim];
        judge(&part).remove(0)
    }

    #[test]
    fn a_claim_is_judged_by_the_mean_over_its_levels_of_each_seed() {
        let desk = Desk::new();
        // Levels 1 and 2 of lrr - imp: seeds 0, 1, 2 have (0.04 + 0.05) / 2, (0.02 + 0.05) / 2 and
        // (0.06 + 0.05) / 2: 0.045, 0.035, 0.055. Mean 0.045, s = 0.01.
        let it = judged(&desk, claim("lrr", "imp", None));
        assert_eq!(it.levels, [1, 2]);
        assert_eq!(it.verdict, Verdict::Visible);
        let difference = it.difference.unwrap();
        assert!((difference.mean - 0.045).abs() < 1e-12);
        let half = 4.302_652_7 * 0.01 / 3f64.sqrt();
        assert!((difference.half_width.unwrap() - half).abs() < 1e-8);
        let reversed = judged(&desk, claim("imp", "lrr", None));
        assert_eq!(reversed.verdict, Verdict::Reversed);
        // Level 1 alone: 0.04 +- 0.0497 holds 0.
        let one = judged(&desk, claim("lrr", "imp", Some([0.7, 0.9])));
        assert_eq!((one.levels, one.verdict), (vec![1], Verdict::NotVisible));
    }

    #[test]
    fn methods_are_compared_where_their_densities_are_one() {
        let desk = Desk::new();
        let (first, mut second) = (desk.results("lrr"), desk.results("imp"));
        let levels = |second: &Results| [0, 1, 2].map(|level| comparable(&first, second, level));
        assert_eq!(levels(&second), [true; 3]);
        for level in second.seeds.iter_mut().flat_map(|it| &mut it.levels) {
            if level.summary.level == 1 {
                level.summary.density = 0.3;
            }
        }
        assert_eq!(levels(&second), [true, false, true]);
    }

    /// The results with masks of whole units: of 1,000 multiply-adds a level keeps `shares`, and of weights `density`.
    fn of_units(results: &mut Results, shares: [u64; 3], density: f64) {
        for level in results.seeds.iter_mut().flat_map(|it| &mut it.levels) {
            let summary = &mut level.summary;
            if summary.level == 0 {
                continue;
            }
            let target = shares[summary.level as usize];
            summary.density = density;
            summary.units = Some(KeptUnits {
                measure: Counted::Macs,
                multiple: 1,
                total: 1000,
                target,
                kept: target - 3,
                sets: Vec::new(),
            });
        }
    }

    #[test]
    fn whole_units_are_compared_at_the_share_that_is_asked_for() {
        let desk = Desk::new();
        let mut part = desk.part();
        part.claims = vec![claim("lrr", "imp", None)];
        of_units(&mut part.cells[0].results, [1000, 500, 250], 0.7);
        of_units(&mut part.cells[1].results, [1000, 500, 250], 0.4);
        let it = judge(&part).remove(0);
        assert_eq!((it.levels, it.densities), (vec![1, 2], Some([0.25, 0.5])));
        assert_eq!(it.verdict, Verdict::Visible);
        // Other shares are other densities.
        of_units(&mut part.cells[1].results, [1000, 600, 250], 0.7);
        let it = judge(&part).remove(0);
        assert_eq!(it.verdict, Verdict::NotDecided);
        assert_eq!(
            it.note,
            "the two have other densities at level 1: 0.5000 and 0.6000"
        );
    }

    #[test]
    fn what_is_missing_is_named_and_decides_nothing() {
        let desk = Desk::new();
        // `half` has one level for seeds 0 and 1 and all for seed 2.
        let it = judged(&desk, claim("half", "imp", None));
        assert_eq!(it.verdict, Verdict::NotDecided);
        assert_eq!(
            it.note,
            "only 1 seed has all levels of both; two are needed; seeds 0, 1 lack some of these levels"
        );
        let it = judged(&desk, claim("lrr", "wr", None));
        assert_eq!(it.verdict, Verdict::NotDecided);
        assert!(it.note.contains("no method `wr`"), "{}", it.note);
        let it = judged(&desk, claim("lrr", "imp", Some([0.001, 0.002])));
        assert!(
            it.note
                .contains("no level has a density from 0.001 to 0.002")
        );
    }

    #[test]
    fn a_method_that_was_stopped_is_said_to_have_been() {
        let desk = Desk::new();
        let mut part = desk.part_with_stop();
        part.claims = vec![claim("half", "imp", None), claim("lrr", "imp", None)];
        let judged = judge(&part);
        assert_eq!(judged[0].verdict, Verdict::NotDecided);
        let note = "half was stopped at level 0: 20.00 points behind lrr by validation (95 %: 10.00 to 30.00, 3 seeds)";
        assert_eq!(
            judged.iter().map(|it| it.note.as_str()).collect::<Vec<_>>(),
            [note, ""]
        );
        assert_eq!(part.stops(), [note]);
    }

    #[test]
    fn a_method_is_not_above_itself() {
        let it = judged(&Desk::new(), claim("lrr", "lrr", None));
        assert_eq!(it.verdict, Verdict::NotVisible);
    }
}
