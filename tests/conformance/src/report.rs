//! What was found, for people and for machines.

use plugin_api::abi::wire::{ComponentKind, Manifest};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};
use serde::{Deserialize, Serialize};

/// One case in which a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The input.
    pub case: String,
    /// What the component did.
    pub got: String,
    /// What the rule asks for.
    pub expected: String,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It is kept.
    Kept {
        /// What else is worth saying, such as a time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It is broken.
    Broken {
        /// The first cases.
        failures: Vec<Failure>,
    },
    /// It could not be checked here.
    Skipped {
        /// Why.
        why: String,
    },
    /// Checking it took too long, and it cannot be told whether the component or the machine is why.
    Undecided {
        /// How long it took, and what to do.
        why: String,
    },
}

impl Verdict {
    /// Kept, with nothing to add.
    pub const KEPT: Self = Self::Kept { note: None };

    /// Broken in one case.
    pub fn broken(
        case: impl Into<String>,
        got: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        let failure = Failure {
            case: case.into(),
            got: got.into(),
            expected: expected.into(),
        };
        Self::Broken {
            failures: vec![failure],
        }
    }
}

/// A rule, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleReport {
    /// The rule's name.
    pub rule: String,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The rules of one component.
#[derive(Clone, Debug, Serialize)]
pub struct ComponentReport {
    /// Kind.
    pub kind: ComponentKind,
    /// Name behind the slash.
    pub component: String,
    /// In the order of [`RULES`](crate::RULES).
    pub rules: Vec<RuleReport>,
}

/// All rules of all components of a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// Seed that the cases were drawn from.
    pub seed: u64,
    /// The components.
    pub components: Vec<ComponentReport>,
}

impl Report {
    /// A report without components yet.
    pub fn new(manifest: &Manifest, seed: u64) -> Self {
        Self {
            plugin: manifest.name.clone(),
            version: manifest.version.clone(),
            seed,
            components: Vec::new(),
        }
    }

    fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        let rules = self.components.iter().flat_map(|it| &it.rules);
        rules.map(|rule| &rule.verdict)
    }

    /// Number of broken rules.
    pub fn broken(&self) -> usize {
        let broken = |verdict: &&Verdict| matches!(verdict, Verdict::Broken { .. });
        self.verdicts().filter(broken).count()
    }

    /// Number of rules that could be kept as well as broken.
    pub fn undecided(&self) -> usize {
        let undecided = |verdict: &&Verdict| matches!(verdict, Verdict::Undecided { .. });
        self.verdicts().filter(undecided).count()
    }

    /// The report for people; `again` is the command that checks this file.
    pub fn text(&self, again: &str) -> String {
        let mut lines = vec![format!("{} {}", self.plugin, self.version)];
        for component in &self.components {
            lines.push(String::new());
            let kind = component.kind.name();
            lines.push(format!("{kind} {}/{}", self.plugin, component.component));
            for rule in &component.rules {
                let (word, more) = match &rule.verdict {
                    Verdict::Kept { note } => ("kept", note.clone().unwrap_or_default()),
                    Verdict::Broken { .. } => ("BROKEN", String::new()),
                    Verdict::Skipped { why } => ("skipped", why.clone()),
                    Verdict::Undecided { why } => ("not decided", why.clone()),
                };
                lines.push(
                    format!("  {:<14} {word:<8} {more}", rule.rule)
                        .trim_end()
                        .to_owned(),
                );
                if let Verdict::Broken { failures } = &rule.verdict {
                    lines.extend(failures.iter().map(|failure| {
                        format!(
                            "    case      {}\n    got       {}\n    expected  {}",
                            failure.case, failure.got, failure.expected
                        )
                    }));
                    lines.push(format!(
                        "    again     {again} --only {kind}/{} --rule {} --seed {}",
                        component.component, rule.rule, self.seed
                    ));
                }
            }
        }
        let (rules, broken, undecided) = (self.verdicts().count(), self.broken(), self.undecided());
        let skipped = self
            .verdicts()
            .filter(|verdict| matches!(verdict, Verdict::Skipped { .. }))
            .count();
        lines.push(String::new());
        let mut summary = format!(
            "{} component(s), {rules} rules: {} kept, {broken} broken, {skipped} skipped",
            self.components.len(),
            rules - broken - skipped - undecided
        );
        if undecided > 0 {
            summary.push_str(&format!(", {undecided} not decided"));
        }
        lines.push(summary);
        lines.join("\n")
    }

    /// The report as JUnit's XML: a suite a component, a test a rule.
    ///
    /// # Errors
    /// If a text cannot be written as XML.
    pub fn junit(&self) -> Result<String, String> {
        let mut report = Junit::new(format!("{} {}", self.plugin, self.version));
        for component in &self.components {
            let kind = component.kind.name();
            let mut suite = TestSuite::new(format!("{kind} {}", component.component));
            for rule in &component.rules {
                let status = match &rule.verdict {
                    Verdict::Kept { .. } => TestCaseStatus::success(),
                    Verdict::Skipped { why } => {
                        let mut status = TestCaseStatus::skipped();
                        status.set_message(why.clone());
                        status
                    }
                    Verdict::Undecided { why } => {
                        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                        status.set_message(why.clone());
                        status
                    }
                    Verdict::Broken { failures } => {
                        let text = |it: &Failure| {
                            format!("{}: got {}, expected {}", it.case, it.got, it.expected)
                        };
                        let all: Vec<String> = failures.iter().map(text).collect();
                        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                        status.set_message(all.join("; "));
                        status
                    }
                };
                suite.add_test_case(TestCase::new(rule.rule.clone(), status));
            }
            report.add_test_suite(suite);
        }
        report.to_string().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let rule = |rule: &str, verdict| RuleReport {
            rule: rule.to_owned(),
            verdict,
        };
        Report {
            plugin: "tanh".to_owned(),
            version: "0.1.0".to_owned(),
            seed: 7,
            components: vec![ComponentReport {
                kind: ComponentKind::Score,
                component: "score".to_owned(),
                rules: vec![
                    rule("answers", Verdict::KEPT),
                    rule("state", Verdict::broken("an MLP", "1 < 2", "2")),
                    rule(
                        "devices",
                        Verdict::Skipped {
                            why: "no GPU".to_owned(),
                        },
                    ),
                ],
            }],
        }
    }

    #[test]
    fn a_broken_rule_says_case_got_expected_and_how_to_see_it_again() {
        let text = report().text("rewind plugin check x.so");
        let expected = "tanh 0.1.0\n\nscore tanh/score\n  answers        kept\n  state          BROKEN\n    \
            case      an MLP\n    got       1 < 2\n    expected  2\n    \
            again     rewind plugin check x.so --only score/score --rule state --seed 7\n  \
            devices        skipped  no GPU\n\n1 component(s), 3 rules: 1 kept, 1 broken, 1 skipped";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_rule_that_is_not_decided_counts_as_neither_kept_nor_broken() {
        let mut report = report();
        report.components[0].rules[0].verdict = Verdict::Undecided {
            why: "too long".to_owned(),
        };
        let text = report.text("again");
        assert!(text.contains("  answers        not decided too long\n"));
        assert!(text.ends_with("3 rules: 0 kept, 1 broken, 1 skipped, 1 not decided"));
        assert_eq!((report.broken(), report.undecided()), (1, 1));
        let xml = report.junit().unwrap();
        assert!(xml.contains("errors=\"1\" failures=\"1\""), "{xml}");
        assert!(xml.contains("too long"), "{xml}");
        let json = serde_json::to_value(&report.components[0].rules[0]).unwrap();
        assert_eq!(json["verdict"], "undecided");
    }

    #[test]
    fn junit_counts_and_escapes() {
        let xml = report().junit().unwrap();
        assert!(
            xml.contains("tests=\"3\" skipped=\"1\" errors=\"0\" failures=\"1\""),
            "{xml}"
        );
        assert!(xml.contains("an MLP: got 1 &lt; 2, expected 2"), "{xml}");
    }

    #[test]
    fn verdicts_travel_as_json() {
        for rule in &report().components[0].rules {
            let text = serde_json::to_string(rule).unwrap();
            let read: RuleReport = serde_json::from_str(&text).unwrap();
            assert_eq!(read.verdict, rule.verdict);
        }
    }
}
