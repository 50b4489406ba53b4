//! What methods of dynamic sparse training share: dropping and growing, and a fraction that falls.

use crate::error::{Error, Result};
use crate::{Among, Counts, MaskContext, Tensor};

impl MaskContext<'_> {
    /// Masks in which each layer has as many ones as it has now: `exchanged[l]` survivors of layer l
    /// with the lowest `scores` are dropped, and as many weights with the highest `growth` grow,
    /// lower index first among equals.
    ///
    /// What was just dropped may grow back at once; it then keeps its value.
    ///
    /// # Errors
    /// If a list does not have one item for each layer, a layer is to exchange more than its
    /// survivors or more than it has room for, or a candidate's number is NaN.
    ///
    /// # Source
    /// Evci et al. 2020 (arXiv:1911.11134), algorithm 1.
    pub fn drop_and_grow(
        &mut self,
        scores: &[Tensor],
        growth: &[Tensor],
        exchanged: &[u64],
    ) -> Result<Vec<Tensor>> {
        let survivors = self.survivors()?;
        if exchanged.len() != survivors.len() || growth.len() != survivors.len() {
            return Err(Error::new(format!(
                "{} tensors of growth and {} counts to exchange for {} layers",
                growth.len(),
                exchanged.len(),
                survivors.len()
            )));
        }
        let mut rest = Vec::with_capacity(survivors.len());
        for ((layer, &ones), &exchanged) in self.layers().iter().zip(&survivors).zip(exchanged) {
            match ones.checked_sub(exchanged) {
                Some(kept) => rest.push(kept),
                None => {
                    return Err(Error::new(format!(
                        "layer `{}` has {ones} survivors and cannot exchange {exchanged}",
                        layer.name
                    )));
                }
            }
        }
        let kept = self.select(scores, Among::Survivors, Counts::PerLayer(rest))?;
        let candidates: Vec<Tensor> = kept
            .iter()
            .zip(growth)
            .map(|(kept, growth)| kept.choose(&kept.full_like(f64::NEG_INFINITY), growth))
            .collect();
        let grown = self.select(
            &candidates,
            Among::All,
            Counts::PerLayer(exchanged.to_vec()),
        )?;
        Ok(kept.iter().zip(&grown).map(|(a, b)| a + b).collect())
    }

    /// How many weights each layer exchanges: `fraction` of its survivors, rounded, and at most as
    /// many as it has room for.
    ///
    /// # Errors
    /// What the host says.
    pub fn exchanged(&mut self, fraction: f64) -> Result<Vec<u64>> {
        let survivors = self.survivors()?;
        let layers = self.layers().iter().zip(survivors);
        Ok(layers
            .map(|(layer, ones)| {
                let wanted = (fraction * ones as f64).round() as u64;
                wanted.min(ones).min(layer.len() - ones)
            })
            .collect())
    }

    /// Half a cosine over the level, from 1 at its start to 0 when the share `until` of its steps
    /// has passed, and 0 from then on.
    ///
    /// # Source
    /// Evci et al. 2020 (arXiv:1911.11134), section 3: f_decay without its alpha.
    pub fn cosine(&self, until: f64) -> f64 {
        cosine(self.step(), until * self.steps_per_level() as f64)
    }
}

fn cosine(step: u64, end: f64) -> f64 {
    let passed = step as f64 / end;
    if passed < 1.0 {
        0.5 * (1.0 + (std::f64::consts::PI * passed).cos())
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_falls_from_1_to_0_and_stays_there() {
        assert_eq!(cosine(0, 600.0), 1.0);
        assert!((cosine(200, 600.0) - 0.75).abs() < 1e-12);
        assert!((cosine(300, 600.0) - 0.5).abs() < 1e-12);
        assert_eq!(cosine(600, 600.0), 0.0);
        assert_eq!(cosine(700, 600.0), 0.0);
        assert_eq!(cosine(1, 0.0), 0.0);
        assert_eq!(cosine(0, 0.0), 0.0, "0 / 0 is no share of anything");
    }
}
