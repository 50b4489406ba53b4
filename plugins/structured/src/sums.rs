//! Sums over the weights of each unit.

use plugin_api::{Layer, Units};

/// For each unit of each set the sum of what its weights count, added up in their order; with those that read it or
/// without.
pub fn of_units(
    units: &Units,
    layers: &[Layer],
    reads: bool,
    counts: impl Fn(usize, usize) -> f64,
) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    for set in &units.sets {
        let mut sums = vec![0.0; set.units as usize];
        for slice in set.slices.iter().filter(|it| it.makes || reads) {
            let layer = slice.layer as usize;
            let place = places(&layers[layer], slice.axis as usize);
            for at in 0..layers[layer].len() as usize {
                if let Some(unit) = slice.units[place(at)] {
                    sums[unit as usize] += counts(layer, at);
                }
            }
        }
        all.push(sums);
    }
    all
}

/// The place along a dimension of each of a layer's weights, row-major.
pub fn places(layer: &Layer, axis: usize) -> impl Fn(usize) -> usize {
    let behind: i64 = layer.shape[axis + 1..].iter().product();
    let (behind, size) = (behind.max(1) as usize, layer.shape[axis] as usize);
    move |at| at / behind % size
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::LayerKind;

    #[test]
    fn a_unit_has_its_rows_and_the_columns_that_read_it() {
        let layers = vec![
            Layer::new("fc1.weight", LayerKind::Linear, [2, 3]),
            Layer::new("fc2.weight", LayerKind::Linear, [2, 4]),
        ];
        let units = Units::of_chain(&layers);
        let weights = [vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![1.0; 8]];
        let count = |layer: usize, at: usize| weights[layer][at];
        assert_eq!(of_units(&units, &layers, false, count), [[6.0, 15.0]]);
        // Two columns each of two rows.
        assert_eq!(of_units(&units, &layers, true, count), [[10.0, 19.0]]);
    }
}
