use super::*;
use crate::report::build;
use crate::report::testing::Desk;

fn named(name: &str, desk: &Desk) -> Named {
    let read = read(name, &desk.path(""));
    read.unwrap_or_else(|_| panic!("{name} is there"))
}

fn refusal(name: &str, desk: &Desk) -> String {
    match read(name, &desk.path("")) {
        Ok(_) => panic!("{name} is taken for a run"),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn the_terminal_shows_the_digits_of_the_reports_paired_differences() {
    let desk = Desk::new();
    let folder = desk.write_sweep("t", &[("lrr", "lrr"), ("imp", "imp")], None);
    build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    let csv = folder.join("figures/methods-paired-test-accuracy.csv");
    let csv = std::fs::read_to_string(csv).unwrap();
    let reported: Vec<Vec<&str>> = (csv.lines().skip(1))
        .map(|line| line.split(',').skip(3).collect())
        .collect();
    let (first, second) = (named("paper:lrr", &desk), named("imp", &desk));
    let measure = Measure::TestAccuracy;
    let levels = paired(&first.results, &second.results, measure);
    let shown = table(&levels);
    let shown: Vec<Vec<&str>> = (shown.lines().skip(1))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(shown.len(), 3);
    assert_eq!(shown, reported);
    let json = as_json(&first, &second, measure, &levels);
    for (row, texts) in json["levels"].as_array().unwrap().iter().zip(reported) {
        let number: f64 = texts[6].parse().unwrap();
        assert_eq!(row["difference"], json!(number));
    }
}

#[test]
fn what_names_no_run_is_answered_with_what_there_is() {
    let desk = Desk::new();
    desk.write_sweep("t", &[("lrr", "lrr"), ("imp", "imp")], None);
    assert!(refusal("wr", &desk).contains("half, imp, lrr, paper"));
    assert!(refusal("paper", &desk).contains("paper is a sweep: name one of its runs"));
    assert!(refusal("paper:wr", &desk).contains("no run `wr`; it has lrr, imp"));
    assert!(refusal("lrr:imp", &desk).contains("lrr is no sweep"));
}

#[test]
fn runs_on_other_data_are_refused() {
    let desk = Desk::new();
    let file = desk.path("imp/experiment.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("mnist1d", "cifar10")).unwrap();
    let failure = check(&named("lrr", &desk), &named("imp", &desk));
    let failure = failure.err().map(|it| it.to_string()).unwrap_or_default();
    assert!(
        failure.contains("not measured on the same data"),
        "{failure}"
    );
    assert!(failure.contains("mnist1d") && failure.contains("cifar10"));
}

#[test]
fn seeds_that_one_of_the_two_lacks_are_named() {
    let desk = Desk::new();
    let (mut first, second) = (named("lrr", &desk), named("imp", &desk));
    first.results.seeds.remove(1);
    let levels = paired(&first.results, &second.results, Measure::TestAccuracy);
    assert_eq!(levels[0].seeds, [0, 2]);
    let notes = notes(&first, &second, &levels);
    assert_eq!(notes, ["seed 1 of imp left out: not in lrr"]);
}
