//! Which of several cells are behind the best of them.

use super::interval::Interval;

/// What a comparison comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The cell with the highest mean, by its place, and that mean; none if no cell has a value of every seed.
    pub best: Option<(usize, f64)>,
    /// The cells that are behind it.
    pub behind: Vec<Lag>,
}

/// A cell whose difference to the best one lies wholly below 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    /// Its place.
    pub cell: usize,
    /// Its values minus the best one's.
    pub difference: Interval,
    /// Places of the seeds of which both have a value.
    pub seeds: Vec<usize>,
}

/// Compares cells by a value of each seed, some of which may be missing. The best has the highest mean of those cells that
/// lack no value, the first of equal ones; behind it are those whose paired difference has an interval of this confidence
/// that lies wholly below 0. With fewer than two seeds in common nothing is said of a cell.
///
/// Cells are compared with the best alone and not each with each: of many that are equal, many pairs differ by accident.
pub fn behind(cells: &[&[Option<f64>]], confidence: f64) -> Comparison {
    let mean = |values: &[Option<f64>]| {
        let all: Option<Vec<f64>> = values.iter().copied().collect();
        let all = all.filter(|it| !it.is_empty())?;
        Some(all.iter().sum::<f64>() / all.len() as f64)
    };
    let mut best: Option<(usize, f64)> = None;
    for (place, values) in cells.iter().enumerate() {
        if let Some(mean) = mean(values)
            && best.is_none_or(|(_, most)| mean > most)
        {
            best = Some((place, mean));
        }
    }
    let Some((first, _)) = best else {
        return Comparison {
            best,
            behind: Vec::new(),
        };
    };
    let lag = |(cell, values): (usize, &&[Option<f64>])| {
        let both = values.iter().zip(cells[first]).enumerate();
        let both = both.filter_map(|(seed, (own, best))| Some((seed, (*own)? - (*best)?)));
        let (seeds, differences): (Vec<usize>, Vec<f64>) = both.unzip();
        let difference = Interval::of_confidence(&differences, confidence)?;
        let is_behind = difference
            .half_width
            .is_some_and(|half| difference.mean + half < 0.0);
        is_behind.then_some(Lag {
            cell,
            difference,
            seeds,
        })
    };
    Comparison {
        best,
        behind: cells.iter().enumerate().filter_map(lag).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    fn places(cells: &[Vec<Option<f64>>], confidence: f64) -> (Option<usize>, Vec<usize>) {
        let cells: Vec<&[Option<f64>]> = cells.iter().map(Vec::as_slice).collect();
        let found = behind(&cells, confidence);
        (
            found.best.map(|it| it.0),
            found.behind.iter().map(|it| it.cell).collect(),
        )
    }

    #[test]
    fn a_cell_is_behind_where_the_whole_interval_of_its_differences_is_below_0() {
        // Differences of the second: -0.02, -0.03, -0.04: mean -0.03, s = 0.01, and t(0.975, 2) = 4.302653, so the interval
        // ends at -0.03 + 4.302653 * 0.01 / sqrt(3) = -0.0052. Of the third: -0.01, -0.03, -0.05, s = 0.02: it ends at 0.0197.
        let cells = [
            of(&[0.70, 0.72, 0.74]),
            of(&[0.68, 0.69, 0.70]),
            of(&[0.69, 0.69, 0.69]),
        ];
        assert_eq!(places(&cells, 0.95), (Some(0), vec![1]));
        // t(0.9, 2) = 1.885618: the third ends at -0.03 + 0.0218.
        assert_eq!(places(&cells, 0.8), (Some(0), vec![1, 2]));
        // t(0.995, 2) = 9.924843: -0.03 + 0.0573.
        assert_eq!(places(&cells, 0.99), (Some(0), vec![]));
        let slices: Vec<&[Option<f64>]> = cells.iter().map(Vec::as_slice).collect();
        let lag = &behind(&slices, 0.95).behind[0];
        assert!((lag.difference.mean + 0.03).abs() < 1e-12);
        assert_eq!(lag.seeds, [0, 1, 2]);
    }

    #[test]
    fn equal_cells_stop_none_and_the_first_is_the_best() {
        let cells = [of(&[0.5, 0.6]), of(&[0.5, 0.6]), of(&[0.4, 0.5])];
        // The third is behind by exactly 0.1 of each seed.
        assert_eq!(places(&cells, 0.95).0, Some(0));
        assert!(!places(&cells, 0.95).1.contains(&1));
        assert_eq!(places(&cells[..2], 0.5), (Some(0), vec![]));
    }

    #[test]
    fn seeds_that_were_given_up_are_left_out_and_make_no_best() {
        let full = of(&[0.5, 0.6, 0.7]);
        let better = vec![Some(0.9), Some(0.9), None];
        let worse = vec![Some(0.4), None, Some(0.6)];
        let once = vec![None, None, Some(0.1)];
        let cells = [better.clone(), full, worse, once.clone()];
        // The third lacks 0.1 of either seed; of the last there is one difference, which has no interval.
        assert_eq!(places(&cells, 0.95), (Some(1), vec![2]));
        assert_eq!(places(&[better, once], 0.95), (None, vec![]));
    }
}
