//! Exit codes, and failures on their way to the user.

use std::fmt;

use serde_json::json;

use super::args::Output;
use super::stdout;
use crate::experiment::Diagnostics;
use crate::gpu;
use crate::memory::{shortage, with_advice};
use crate::printable::printable;
use crate::run::OpenError;

/// How the program ends. The numbers are part of the interface. What they mean stands here, and from here in
/// `--help`, the manual page and the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done, and nothing found wrong.
    Success = 0,
    /// The command line or a file it names is wrong; nothing was started.
    BadInput = 2,
    /// A plugin cannot be used or broke a rule; the run goes on once it is mended.
    Plugin = 3,
    /// Stopped by the user; the same command goes on.
    Interrupted = 4,
    /// Something failed while running, or what was checked is not well.
    Failed = 5,
}

impl Exit {
    /// Every way to end.
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::BadInput,
        Self::Plugin,
        Self::Interrupted,
        Self::Failed,
    ];

    /// What it means, for people.
    pub fn means(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::BadInput => {
                "wrong input: the command line, an experiment file, missing data; nothing was started"
            }
            Self::Plugin => {
                "a plugin cannot be used or broke a rule; the run goes on once it is mended"
            }
            Self::Interrupted => "interrupted; the same command goes on from there",
            Self::Failed => {
                "failed while running, or gave a seed up; the same command goes on from the last checkpoint. \
                 `verify`: something is wrong. `plugin check`: a rule was not decided"
            }
        }
    }
}

/// What went wrong, and how the program ends.
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    message: Message,
}

enum Message {
    Text(String),
    Diagnostics(Diagnostics),
}

impl Failure {
    /// A failure with a message that completes "error: ". Where memory or a thread was not to be had, or a GPU does not
    /// compute, it says what to do, whoever asked for it.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let mut text = message.to_string();
        if matches!(exit, Exit::Failed) && !text.contains("the same command") {
            if let Some(shortage) = shortage(&text) {
                text = format!("{text}: {}", with_advice(&shortage));
            } else if let Some(said) = gpu::said(&text) {
                // Libtorch's text goes on for lines, for those who debug it.
                log::debug!("{text}");
                text = said.under_way();
            }
        }
        Self {
            exit,
            message: Message::Text(text),
        }
    }

    /// The same failure with the name of what it concerns before its message.
    pub fn of(mut self, name: &str) -> Self {
        if let Message::Text(text) = &mut self.message {
            *text = format!("{name}: {text}");
        }
        self
    }

    /// Wrong input.
    pub fn bad_input(message: impl fmt::Display) -> Self {
        Self::new(Exit::BadInput, message)
    }

    /// Tells the user, on stderr.
    pub fn report(&self, output: &Output) {
        let exit = self.exit as u8;
        stdout::tell(match &self.message {
            Message::Text(text) if output.json => {
                json!({ "error": text, "exit": exit }).to_string()
            }
            Message::Text(text) => format!("error: {}", printable(text)),
            Message::Diagnostics(diagnostics) if output.json => {
                json!({ "errors": diagnostics.to_json(), "exit": exit }).to_string()
            }
            Message::Diagnostics(diagnostics) => diagnostics.render(output.colour()),
        });
    }
}

/// The JSON of a plugin that ended the process.
pub fn as_json(message: &str) -> String {
    json!({ "error": message, "exit": Exit::Plugin as u8 }).to_string()
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Message::Text(text) => formatter.write_str(text),
            Message::Diagnostics(diagnostics) => formatter.write_str(&diagnostics.render(false)),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Experiment(diagnostics) => diagnostics.into(),
            OpenError::Data(error) => Self::bad_input(error),
            OpenError::Load(_) | OpenError::Make(_) => Self::new(Exit::Plugin, error),
            OpenError::Points(_) | OpenError::AnotherExperiment { .. } => Self::bad_input(error),
            OpenError::ChangedPlugin { .. } => Self::new(
                Exit::Plugin,
                format!(
                    "{error}, so that what is there is another build's: add --fresh to throw away all levels \
                     but the dense one (an update's that too) and make them with this build, put the old file \
                     back, or keep what is there beside what this build makes with --allow-changed-plugins"
                ),
            ),
            OpenError::Run(error) if error.is_plugin_failure() => {
                let text = error.to_string();
                match gpu::said(&text) {
                    // The component had asked for what the GPU no longer computes.
                    Some(said) => Self::new(Exit::Failed, said.under_way()),
                    None => Self::new(Exit::Plugin, text),
                }
            }
            OpenError::Device(_)
            | OpenError::Algorithms(_)
            | OpenError::Lock(_)
            | OpenError::Identity(_)
            | OpenError::Store(_)
            | OpenError::Summary(_)
            | OpenError::Run(_) => Self::new(Exit::Failed, error),
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        let exit = if diagnostics.only_plugin_failures() {
            Exit::Plugin
        } else {
            Exit::BadInput
        };
        Self {
            exit,
            message: Message::Diagnostics(diagnostics),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::RunError;
    use crate::strategy::{StrategyError, Violation};
    use crate::trainer::TrainError;

    #[test]
    fn who_got_no_thread_is_told_what_to_do_once() {
        let error = std::io::Error::from_raw_os_error(libc::EAGAIN);
        let failure = Failure::new(
            Exit::Failed,
            format!("failed to listen to signals: {error}"),
        );
        let said = failure.to_string();
        assert!(
            said.starts_with("failed to listen to signals: Resource"),
            "{said}"
        );
        assert!(
            said.contains("out of memory, or of threads; make memory free"),
            "{said}"
        );
        assert_eq!(Failure::new(Exit::Failed, &said).to_string(), said);
    }

    #[test]
    fn a_gpu_that_is_lost_ends_a_run_with_the_code_that_goes_on_also_where_a_component_saw_it_first()
     {
        let thrown = "CUDA error: unspecified launch failure\nCompile with `TORCH_USE_CUDA_DSA`";
        let by_trainer = RunError::Train(TrainError::Feed(thrown.to_owned()));
        let by_component = RunError::Strategy {
            seed: 1,
            level: 2,
            source: StrategyError {
                part: "component `score`".to_owned(),
                plugin: "lrr".to_owned(),
                violation: Violation::Failed(format!(
                    "the host failed inside this service: {thrown}"
                )),
            },
        };
        assert!(by_component.is_plugin_failure());
        for error in [by_trainer, by_component] {
            let failure = Failure::from(OpenError::Run(error));
            assert_eq!(failure.exit, Exit::Failed);
            let said = failure.to_string();
            assert!(
                said.contains("(CUDA: unspecified launch failure)"),
                "{said}"
            );
            assert!(
                said.ends_with("the same command goes on from there"),
                "{said}"
            );
            assert!(!said.contains("mended") && !said.contains("DSA"), "{said}");
        }
    }

    #[test]
    fn the_documentation_has_the_exit_codes_of_the_program_and_no_other() {
        let rows: Vec<String> = (Exit::ALL.iter())
            .map(|exit| format!("| {} | {} |", *exit as u8, exit.means()))
            .collect();
        let table = format!("|---|---|\n{}\n\n", rows.join("\n"));
        for (page, text) in [
            (
                "docs/commands.md",
                include_str!("../../../docs/commands.md"),
            ),
            (
                "docs/run-directory.md",
                include_str!("../../../docs/run-directory.md"),
            ),
        ] {
            assert!(text.contains(&table), "{page} lacks\n{table}");
        }
        let codes: Vec<String> = Exit::ALL.iter().map(|it| (*it as u8).to_string()).collect();
        let row = format!("| Exit codes | {} keep their meaning |", codes.join(", "));
        assert!(
            include_str!("../../../STABILITY.md").contains(&row),
            "{row}"
        );
    }
}
