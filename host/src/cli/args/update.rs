//! Arguments that say by which update the hidden neuron is trained.

use clap::{Args as ClapArgs, ValueEnum};

use crate::neuron::{Update, defaults};

/// How a step of training moves the weights.
#[derive(ClapArgs, Debug)]
pub struct UpdateArgs {
    /// How a step of training moves the weights.
    #[arg(long, alias = "method", value_enum, value_name = "UPDATE", default_value_t = UpdateName::Gradient)]
    update: UpdateName,
    /// Inner scale of the output weight. [default: 4]
    #[arg(long, value_name = "SCALE", help_heading = "Sign-In")]
    inner_scale_a: Option<f64>,
    /// Inner scale of the input weights. [default: 0.5]
    #[arg(long, value_name = "SCALE", help_heading = "Sign-In")]
    inner_scale_w: Option<f64>,
    /// Time after which the inner scales are set anew. [default: 0.2]
    #[arg(long, value_name = "TIME", help_heading = "Sign-In")]
    every: Option<f64>,
    /// Strength of the multiplying step on the output weight. [default: 40]
    #[arg(long, value_name = "STRENGTH", help_heading = "HAM")]
    alpha_a: Option<f64>,
    /// Strength of the multiplying step on the input weights. [default: 1]
    #[arg(long, value_name = "STRENGTH", help_heading = "HAM")]
    alpha_w: Option<f64>,
    /// Rate at which all weights decay. [default: 0]
    #[arg(long, value_name = "RATE", help_heading = "HAM")]
    beta: Option<f64>,
}

/// The name of an update.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum UpdateName {
    /// Gradient descent on the weights.
    Gradient,
    /// Sign-In: gradient descent on two factors of each weight.
    SignIn,
    /// HAM: gradient descent, and after each step another that multiplies the weights.
    Ham,
}

impl UpdateArgs {
    /// The update that they say.
    ///
    /// # Errors
    /// Options that another update has.
    pub fn update(&self) -> Result<Update, String> {
        for (name, of, given) in [
            ("--inner-scale-a", UpdateName::SignIn, self.inner_scale_a),
            ("--inner-scale-w", UpdateName::SignIn, self.inner_scale_w),
            ("--every", UpdateName::SignIn, self.every),
            ("--alpha-a", UpdateName::Ham, self.alpha_a),
            ("--alpha-w", UpdateName::Ham, self.alpha_w),
            ("--beta", UpdateName::Ham, self.beta),
        ] {
            if given.is_some() && of != self.update {
                let of = match of {
                    UpdateName::SignIn => "sign-in",
                    _ => "ham",
                };
                return Err(format!(
                    "`{name}` is an option of `--update {of}` alone: give that, or leave it out"
                ));
            }
        }
        Ok(match self.update {
            UpdateName::Gradient => Update::Gradient,
            UpdateName::SignIn => Update::SignIn {
                inner_scale_a: self.inner_scale_a.unwrap_or(defaults::inner_scale_a()),
                inner_scale_w: self.inner_scale_w.unwrap_or(defaults::inner_scale_w()),
                every: self.every.unwrap_or(defaults::every()),
            },
            UpdateName::Ham => Update::Ham {
                alpha_a: self.alpha_a.unwrap_or(defaults::alpha_a()),
                alpha_w: self.alpha_w.unwrap_or(defaults::alpha_w()),
                beta: self.beta.unwrap_or(defaults::beta()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: UpdateArgs,
    }

    fn update(line: &str) -> Result<Update, String> {
        let words = ["neuron"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().args.update()
    }

    #[test]
    fn what_is_not_said_is_what_a_file_has_by_default() {
        let read = |text: &str| serde_json::from_str::<Update>(text).unwrap();
        for (line, table) in [
            ("", r#"{"name":"gradient"}"#),
            ("--update sign-in", r#"{"name":"sign-in"}"#),
            ("--update ham", r#"{"name":"ham"}"#),
            ("--method ham", r#"{"name":"ham"}"#),
            (
                "--update ham --alpha-a 9",
                r#"{"name":"ham","alpha_a":9.0}"#,
            ),
        ] {
            assert_eq!(update(line), Ok(read(table)), "{line}");
        }
    }

    #[test]
    fn the_help_says_the_defaults() {
        let help = <Line as clap::CommandFactory>::command()
            .render_long_help()
            .to_string();
        for value in [
            defaults::inner_scale_a(),
            defaults::inner_scale_w(),
            defaults::every(),
            defaults::alpha_a(),
            defaults::alpha_w(),
            defaults::beta(),
        ] {
            let said = format!("[default: {value}]");
            assert!(help.contains(&said), "{said} in\n{help}");
        }
    }

    #[test]
    fn an_option_of_another_update_is_refused_with_the_update_that_has_it() {
        let message = update("--update sign-in --alpha-a 2").unwrap_err();
        assert!(
            message.contains("`--alpha-a` is an option of `--update ham`"),
            "{message}"
        );
        let message = update("--every 2").unwrap_err();
        assert!(message.contains("`--update sign-in`"), "{message}");
    }
}
