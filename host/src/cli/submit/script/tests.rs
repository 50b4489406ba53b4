use clap::FromArgMatches;

use super::*;

fn args(words: &[&str]) -> SubmitArgs {
    use clap::Args as _;
    let command = SubmitArgs::augment_args(clap::Command::new("submit"));
    let words = ["submit", "sweep.toml"].iter().chain(words);
    SubmitArgs::from_arg_matches(&command.get_matches_from(words)).unwrap()
}

fn script(template: &str, more: &[&str]) -> Result<String, String> {
    let words = ["/opt/its program", "run", "sweep.toml"].map(str::to_owned);
    let filling = Filling {
        name: "sweep",
        tasks: 12,
        folder: Path::new("/home/me/it's here"),
        submission: Path::new("/shared/my runs/sweep/submitted/1"),
        words: &words,
    };
    job_script(template, &filling, &args(more)).map_err(|error| error.to_string())
}

#[test]
fn what_is_asked_of_slurm_stands_in_the_job_script() {
    let all = [
        "--partition=gpu",
        "--account=me",
        "--time=4:00:00",
        "--cpus=4",
        "--gpus=2",
        "--mem=16G",
        "--array-limit=5",
        "--extra=--constraint=a100",
    ];
    let text = script(TEMPLATE, &all).unwrap();
    for line in [
        "#SBATCH --array=1-12%5",
        "#SBATCH '--chdir=/shared/my runs/sweep/submitted/1'",
        "#SBATCH --partition=gpu",
        "#SBATCH --account=me",
        "#SBATCH --time=4:00:00",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gpus=2",
        "#SBATCH --mem=16G",
        "#SBATCH --signal=B:TERM@60",
        "#SBATCH --constraint=a100",
        "cd \"/home/me/it's here\" || exit 2",
        "\"${inside[@]}\" '/opt/its program' run sweep.toml --claim --time-limit=\"0:$((14355 - SECONDS))\" &",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(!blanks().is_match(&text), "{text}");
    let text = script(TEMPLATE, &["--shares"]).unwrap();
    assert!(
        text.contains(" \"--task=$SLURM_ARRAY_TASK_ID/12\" &"),
        "{text}"
    );
    assert!(
        !text.contains("--time") && !text.contains("--signal"),
        "{text}"
    );
    let two = script(TEMPLATE, &["--partition=a\nb"]).unwrap_err();
    assert!(two.contains("more than one line"), "{two}");
}

#[test]
fn a_short_time_leaves_a_quarter_of_it_for_checkpoints() {
    let text = script(TEMPLATE, &["--time=1:00"]).unwrap();
    assert!(text.contains("--signal=B:TERM@15\n"), "{text}");
    assert!(text.contains("0:$((49 - SECONDS))"), "{text}");
}

#[test]
fn a_template_is_filled_in_and_its_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.sh");
    let told = |text: &str| {
        fs::write(&path, text).unwrap();
        template(Some(&path)).map_err(|error| error.to_string())
    };
    let own = "@DIRECTIVES@\nmail me@EXAMPLE.org ${#all[@]} @lower@\n@COMMAND@\n";
    let text = script(&told(own).unwrap(), &[]).unwrap();
    assert!(
        text.contains("mail me@EXAMPLE.org ${#all[@]} @lower@"),
        "{text}"
    );
    let lacks = told("@DIRECTIVES@\n").unwrap_err();
    assert!(
        lacks.contains("job.sh: it lacks @COMMAND@; --print-template"),
        "{lacks}"
    );
    let unknown = told("@DIRECTIVES@\n@COMAND@\n").unwrap_err();
    assert!(
        unknown.contains("line 2: nothing is known for @COMAND@"),
        "{unknown}"
    );
    fs::remove_file(&path).unwrap();
    assert!(template(Some(&path)).is_err());
    assert!(template(None).is_ok_and(|it| it == TEMPLATE));
}

#[test]
fn a_list_of_commands_has_a_line_for_each_task() {
    let words = ["host", "run", "my sweep.toml"].map(str::to_owned);
    let filling = Filling {
        name: "sweep",
        tasks: 2,
        folder: Path::new("/home/me"),
        submission: Path::new("/shared/1"),
        words: &words,
    };
    let own = args(&["--shares", "--time=2:00:00"]);
    let Ok(text) = commands(&filling, &own) else {
        panic!("it is refused");
    };
    let line = |task| {
        format!("cd /home/me && exec host run 'my sweep.toml' --task={task}/2 --time-limit=1:59:00")
    };
    assert_eq!(text.lines().collect::<Vec<_>>(), [line(1), line(2)]);
}
