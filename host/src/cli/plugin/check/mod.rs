//! `host plugin check`: every rule, in processes that may end as they like.
//!
//! This process never loads the plugin. It has another one describe it, and one a component check
//! the rules and say line by line what it is about and what it found. Where that process ends, hangs
//! or swells, the rule that it was about is broken, and another one goes on with the next.

mod effort;
mod scene;
mod stepping;
mod subject;
mod worker;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use conformance::{ComponentReport, RULES, Report, Rule, RuleReport, Verdict};
use plugin_api::abi::wire::{ComponentManifest, Manifest};

use crate::cli::args::{CheckArgs, Output};
use crate::cli::exit::{Exit, Failure};
use crate::cli::stdout;
use crate::program;
use crate::strategy::guard;
use effort::Effort;
use worker::{DESCRIBE, Line};

/// How often a process is looked after, and how often its time is taken.
const PATROL: Duration = Duration::from_millis(10);
const TIMED: Duration = Duration::from_millis(100);

/// How many times its limit a process may keep us waiting without spending that itself.
const PATIENCE: u32 = 10;

/// Checks a plugin.
///
/// # Errors
/// A file that is no plugin, a component or rule that there is not, or a report that cannot be
/// written.
pub fn check(args: &CheckArgs, output: &Output) -> Result<Exit, Failure> {
    if let Some(component) = &args.worker {
        return worker::work(args, component);
    }
    let rules = rules(args)?;
    let manifest = describe(args)?;
    let components = components(args, &manifest)?;
    let mut report = Report::new(&manifest, args.seed);
    for component in components {
        let name = format!("{}/{}", component.kind.name(), component.name);
        log::info!("checking {name}");
        report.components.push(ComponentReport {
            kind: component.kind,
            component: component.name.clone(),
            rules: supervise(args, &name, &rules)?,
        });
    }
    if output.json {
        stdout::line(serde_json::to_string(&report).map_err(failed)?)?;
    } else {
        let again = format!("{} plugin check {}", program::name(), args.file.display());
        stdout::line(report.text(&again))?;
    }
    if let Some(path) = &args.junit {
        let xml = report.junit().map_err(failed)?;
        crate::store::write(path, xml.as_bytes()).map_err(failed)?;
    }
    Ok(match (report.broken(), report.undecided()) {
        (0, 0) => Exit::Success,
        (0, _) => Exit::Failed,
        _ => Exit::Plugin,
    })
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error)
}

/// The rules that are asked for.
fn rules(args: &CheckArgs) -> Result<Vec<&'static Rule>, Failure> {
    if let Some(unknown) = (args.rule.iter()).find(|name| RULES.iter().all(|it| it.name != **name))
    {
        let known: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        return Err(Failure::bad_input(format!(
            "there is no rule `{unknown}`; the rules are {}",
            known.join(", ")
        )));
    }
    let named = |rule: &&Rule| args.rule.iter().any(|name| name == rule.name);
    let asked = |rule: &&Rule| match args.rule.is_empty() {
        true => !(args.quick && rule.slow),
        false => named(rule),
    };
    Ok(RULES.iter().filter(asked).collect())
}

/// The components that are asked for.
fn components<'a>(
    args: &CheckArgs,
    manifest: &'a Manifest,
) -> Result<Vec<&'a ComponentManifest>, Failure> {
    let is = |component: &ComponentManifest, name: &str| {
        name == component.name || name == format!("{}/{}", component.kind.name(), component.name)
    };
    let all = &manifest.components;
    if let Some(unknown) = (args.only.iter()).find(|name| !all.iter().any(|it| is(it, name))) {
        let known = all
            .iter()
            .map(|it| format!("{}/{}", it.kind.name(), it.name));
        return Err(Failure::bad_input(format!(
            "{} has no component `{unknown}`; it has {}",
            args.file.display(),
            known.collect::<Vec<_>>().join(", ")
        )));
    }
    let asked = |component: &&ComponentManifest| {
        args.only.is_empty() || args.only.iter().any(|name| is(component, name))
    };
    Ok(all.iter().filter(asked).collect())
}

/// A process that checks `component`, or describes the plugin.
fn start(args: &CheckArgs, component: &str) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(["plugin", "check", "--quiet", "--worker", component])
        .args(["--seed", &args.seed.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if args.quick {
        command.arg("--quick");
    }
    for rule in &args.rule {
        command.args(["--rule", rule]);
    }
    command.arg("--").arg(&args.file).spawn().map_err(failed)
}

/// The plugin's own words.
fn describe(args: &CheckArgs) -> Result<Manifest, Failure> {
    let mut watch = Watch::new(args, start(args, DESCRIBE)?);
    let mut manifest = None;
    let end = loop {
        match watch.next() {
            Ok(Line::Manifest(found)) => manifest = Some(found),
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    let path = Path::new(&args.file).display();
    match (manifest, end.refusal) {
        (Some(manifest), _) => Ok(manifest),
        (None, Some(reason)) => Err(Failure::new(Exit::Plugin, reason)),
        (None, None) if end.is_undecided => {
            let reason = format!(
                "{path} was not checked: a process that loads it {}",
                end.how
            );
            Err(Failure::new(Exit::Failed, reason))
        }
        (None, None) => {
            let reason = format!("{path} is damaged: a process that loads it {}", end.how);
            Err(Failure::new(Exit::Plugin, reason))
        }
    }
}

/// What becomes of each rule of one component.
fn supervise(
    args: &CheckArgs,
    component: &str,
    rules: &[&'static Rule],
) -> Result<Vec<RuleReport>, Failure> {
    let mut found: Vec<RuleReport> = Vec::new();
    while found.len() < rules.len() {
        let left = &rules[found.len()..];
        let mut child_args = args.clone();
        child_args.rule = left.iter().map(|rule| rule.name.to_owned()).collect();
        let mut watch = Watch::new(args, start(&child_args, component)?);
        let mut about = None;
        let end = loop {
            match watch.next() {
                Ok(Line::Found(report)) => found.push(report),
                Ok(Line::About(rule)) => about = Some(rule),
                Ok(Line::Manifest(_)) => {}
                Err(end) => break end,
            }
        };
        if found.len() == rules.len() {
            break;
        }
        // It ended within a rule, or before the first one.
        let rule = rules[found.len()];
        let case = match about.as_deref() == Some(rule.name) {
            true => "within this rule",
            false => "loading the plugin",
        };
        let verdict = match end.is_undecided {
            true => Verdict::Undecided {
                why: format!("{case}: the process {}", end.how),
            },
            false => {
                let got = end.refusal;
                let got = got.unwrap_or_else(|| format!("the process {}", end.how));
                Verdict::broken(case, got, rule.says)
            }
        };
        found.push(RuleReport {
            rule: rule.name.to_owned(),
            verdict,
        });
    }
    Ok(found)
}

/// How a process came to its end.
struct End {
    /// Completing "the process ...".
    how: String,
    /// Whether the machine rather than the process may be why.
    is_undecided: bool,
    /// What it said for itself, where it ended by itself.
    refusal: Option<String>,
}

/// A process under watch.
struct Watch {
    child: Child,
    lines: Receiver<String>,
    last_word: Instant,
    effort: Effort,
    timed: Instant,
    time_limit: Duration,
    memory_limit: u64,
}

impl Watch {
    fn new(args: &CheckArgs, mut child: Child) -> Self {
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(out).lines();
                for line in lines.map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Self {
            effort: Effort::of(child.id()),
            child,
            lines,
            last_word: Instant::now(),
            timed: Instant::now(),
            time_limit: Duration::from_secs(args.time_limit),
            memory_limit: args.memory_limit << 30,
        }
    }

    /// The next line, or how the process ended.
    fn next(&mut self) -> Result<Line, End> {
        loop {
            match self.lines.recv_timeout(PATROL) {
                // A plugin may write to stdout, too.
                Ok(line) => {
                    if let Ok(line) = serde_json::from_str(&line) {
                        self.last_word = Instant::now();
                        self.effort.restart();
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.timed.elapsed() >= TIMED {
                self.timed = Instant::now();
                self.check_time()?;
            }
            if memory(&self.child).is_some_and(|held| held > self.memory_limit) {
                let limit = self.memory_limit >> 30;
                return Err(self.kill(format!("held more than {limit} GiB (--memory-limit)")));
            }
        }
    }

    /// Ends the process if it spent more time than it may, or made us wait for too long.
    fn check_time(&mut self) -> Result<(), End> {
        let (limit, waited) = (self.time_limit, self.last_word.elapsed());
        let spent = self.effort.spent();
        let seconds = limit.as_secs();
        if spent.is_some_and(|spent| spent > limit) {
            let how = format!("did not return within {seconds} s of its own time (--time-limit)");
            return Err(self.kill(how));
        }
        let patience = limit.saturating_mul(if spent.is_some() { PATIENCE } else { 1 });
        if waited <= patience {
            return Ok(());
        }
        let waited = waited.as_secs();
        let of_it = spent.map_or_else(
            || "this system does not say how much of that it worked".to_owned(),
            |spent| format!("of which {:.1} s were its own", spent.as_secs_f64()),
        );
        let how = format!(
            "did not return within {waited} s, {of_it}: try again on a machine that is less busy, or \
             with a longer --time-limit"
        );
        Err(End {
            is_undecided: true,
            ..self.kill(how)
        })
    }

    fn kill(&mut self, how: String) -> End {
        // It may have ended by itself meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
        End {
            how,
            is_undecided: false,
            refusal: None,
        }
    }

    fn ended(&mut self) -> End {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        let status = self.child.wait();
        let code = status
            .as_ref()
            .ok()
            .and_then(std::process::ExitStatus::code);
        let how = status.map_or_else(|error| error.to_string(), |it| format!("ended with {it}"));
        let words = said.lines().find_map(|line| line.strip_prefix("error: "));
        let ours = code == Some(Exit::Plugin as i32) || code == Some(Exit::BadInput as i32);
        End {
            how,
            is_undecided: false,
            refusal: words.filter(|_| ours).map(str::to_owned),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory that a process holds, in bytes; none where the system does not say.
fn memory(child: &Child) -> Option<u64> {
    guard::resident_of(&child.id().to_string())
}
