//! AWS: training in which the norms lie anywhere between their initial and their present parameters, so that signs and
//! masks are found that need no trained norms.
//!
//! # Source
//! Oh, Baik & Lee, ICLR 2025 (arXiv:2504.05357).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Around, Experiment, Finding, Parameters, Point, Result, StepNumber, Tensor, Update,
    UpdateContext, Updated, export_plugin,
};
use serde::Deserialize;

/// For the forward and backward pass of each step, puts a psi_init + (1 - a) psi in the place of scale and shift of every
/// norm: psi are the present ones, psi_init the initial ones, and a is drawn uniformly from [0, 1), one number for
/// all norms. The gradient of psi is that of what took its place, times 1 - a. Evaluation sees psi.
///
/// # Source
/// Oh, Baik & Lee, ICLR 2025 (arXiv:2504.05357), and the published code.
///
/// # Departures
/// None known; the published code writes the initial parameters, scale 1 and shift 0, as numbers.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct InterpolatedNorms {}

/// The share of the initial parameters at this step: the same for both hooks of it.
fn share(ctx: &mut UpdateContext<'_>) -> Result<f64> {
    let number = ctx.number(StepNumber::Age)?;
    let drawn: Vec<Tensor> = ctx.uniform_like(&[number])?;
    Ok(drawn[0].item())
}

impl Update for InterpolatedNorms {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        match experiment.norms {
            0 => vec![
                Finding::pointless("the network has no norm to interpolate").advise("leave it out"),
            ],
            _ => Vec::new(),
        }
    }

    fn is_pure(&self) -> bool {
        true
    }

    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        Ok(ctx.weights()?.into())
    }

    fn around(&self) -> Around {
        Around {
            norms: true,
            ..Around::default()
        }
    }

    fn replace(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Parameters> {
        let share = share(ctx)?;
        let (initial, present) = (ctx.norms_at(&Point::Init)?, ctx.norms()?);
        let pairs = initial.iter().zip(&present);
        let between = pairs.map(|(initial, present)| initial * share + present * (1.0 - share));
        Ok(Parameters {
            norms: between.collect(),
            ..Parameters::default()
        })
    }

    fn give_back(
        &mut self,
        ctx: &mut UpdateContext<'_>,
        gradients: Parameters,
    ) -> Result<Parameters> {
        let share = share(ctx)?;
        let scaled = gradients
            .norms
            .iter()
            .map(|gradient| gradient * (1.0 - share));
        Ok(Parameters {
            norms: scaled.collect(),
            ..gradients
        })
    }
}

export_plugin! { update { "interpolated-norms" => InterpolatedNorms } }
