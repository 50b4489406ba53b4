//! What samples are made of, and what is to be learnt of them: what data and networks have to agree in.

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

/// What a dataset feeds a network and asks of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputSpec {
    /// Shape of one sample: `[features]`, `[channels, height, width]` and the like.
    pub shape: Vec<i64>,
    /// Number of classes, or of labels; 1 where the targets are numbers.
    pub classes: i64,
    /// What a sample is made of.
    pub input_type: InputType,
    /// What is to be learnt of it.
    pub task: Task,
    /// Shape of the targets of one sample: `[]`, `[length]` for a class at each position, `[labels]`.
    pub target_shape: Vec<i64>,
}

impl InputSpec {
    /// Shape of a network's outputs for one sample: `[classes]`, `[classes, length]`, `[labels]`, or `[1]`.
    pub fn outputs(&self) -> Vec<i64> {
        let positions = match self.task {
            Task::Classes => &self.target_shape[..],
            // An output each, which the number of classes counts already.
            Task::Numbers | Task::Labels => &[],
        };
        [&[self.classes], positions].concat()
    }
}

/// What is to be learnt of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Its class, or one at each position.
    #[default]
    Classes,
    /// A number.
    Numbers,
    /// Which of several labels it has: any number of them.
    Labels,
}

/// What a sample is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputType {
    /// Numbers, f32 for the network.
    #[default]
    Numbers,
    /// Whole numbers that stand for something, such as words: i64 for the network.
    Tokens,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_one_for_each_class_at_each_position() {
        let spec = |task, classes, target_shape: &[i64]| InputSpec {
            task,
            classes,
            target_shape: target_shape.to_vec(),
            ..InputSpec::default()
        };
        assert_eq!(spec(Task::Classes, 10, &[]).outputs(), [10]);
        assert_eq!(spec(Task::Classes, 65, &[32]).outputs(), [65, 32]);
        assert_eq!(spec(Task::Labels, 4, &[4]).outputs(), [4]);
        assert_eq!(spec(Task::Numbers, 1, &[]).outputs(), [1]);
    }
}
