//! LeNet-300-100.

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::mlp::Mlp;
use super::parts::{Initialisation, parse};
use super::{Build, InputSpec, ModelError, Network};
use crate::registry::{Entry, Options};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "LeNet-300-100: hidden layers of 300 and 100 units, without batch norm",
    schema: || schema_for!(LenetOptions),
    build,
};
const NAME: &str = "lenet-300-100";

/// Options of `lenet-300-100`.
///
/// # Source
/// LeCun et al. 1998, "Gradient-based learning applied to document recognition".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LenetOptions {
    /// Probability that an activation of a hidden layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: LenetOptions = parse(NAME, options, spec)?;
    let mlp = Mlp::new(
        NAME,
        spec,
        &[300, 100],
        false,
        options.dropout,
        options.init,
    )?;
    Ok(Box::new(mlp))
}
