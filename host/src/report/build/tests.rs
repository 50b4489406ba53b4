use base64::prelude::*;
use sha2::{Digest, Sha256};

use super::super::script;
use super::super::speed::tests::timing;
use super::super::testing::Desk;
use super::super::theory::tests::record;
use super::*;
use crate::records::{LATENCIES, SweepRecord, Timing};
use crate::store::RunDir;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The page without its own script, which it holds once, and with data for that script under another tag.
fn without_script(page: &str) -> String {
    let own = format!("<script type=\"module\">\n{}\n</script>", script::whole());
    assert_eq!(page.matches(&own).count(), 1);
    let digest = BASE64_STANDARD.encode(Sha256::digest(format!("\n{}\n", script::whole())));
    assert!(page.contains(&format!("script-src 'sha256-{digest}';")));
    assert_eq!(page.matches("http-equiv").count(), 1);
    let page = page.replace(&own, "");
    page.replace("<script type=\"application/json\">", "<data>")
}

fn sweep(desk: &Desk) -> PathBuf {
    let neuron = serde_json::to_vec(&record()).unwrap();
    store::write(&desk.path("neuron-1/neuron.json"), &neuron).unwrap();
    let methods = [("lrr", "lrr"), ("<b>imp</b>", "imp"), ("half", "half")];
    desk.write_sweep("Methods & <i>masks</i>", &methods, Some("neuron-1"))
}

#[test]
fn a_report_of_a_sweep_is_one_page_that_loads_nothing() {
    let desk = Desk::new();
    let folder = sweep(&desk);
    let written = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    let page = without_script(&text(&written.page));
    for loads in [
        "<script", "@import", "<link", "src=", "url(", "<iframe", "https://",
    ] {
        assert!(!page.contains(loads), "{loads}");
    }
    // The name of the SVG format is the only address in it.
    let addresses = page.matches("http://").count();
    assert_eq!(
        addresses,
        page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
    );
    // Names from files are text.
    assert!(!page.contains("<b>imp") && !page.contains("<i>masks"));
    assert!(page.contains("Methods &amp; &lt;i&gt;masks"));
    for name in &written.figures {
        assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        for ending in ["svg", "csv"] {
            let file = folder.join(format!("figures/{name}.{ending}"));
            assert!(text(&file).len() > 20, "{name}.{ending}");
        }
    }
    assert_eq!(
        page.matches("<svg class=\"chart\"").count(),
        written.figures.len()
    );
}

#[test]
fn what_was_timed_stands_on_the_page_and_in_a_table() {
    let desk = Desk::new();
    let folder = sweep(&desk);
    let table = folder.join("figures/latencies.csv");
    let subjects = [Subject::Sweep(folder.clone())];
    let written = build(&subjects, &folder, false).unwrap();
    assert!(!text(&written.page).contains("How fast it runs") && !table.exists());
    let run = RunDir::new(desk.path("lrr"));
    let lock = LATENCIES.lock(&run).unwrap();
    let measured = vec![timing(1, 32, true)];
    LATENCIES.add(&run, measured, Timing::is_of_same).unwrap();
    drop(lock);
    let written = build(&subjects, &folder, false).unwrap();
    let page = text(&written.page);
    assert!(page.contains("How fast it runs") && page.contains("EPYC, 1 thread"));
    assert!(page.contains("× 2.00<small>1.60 to 2.22</small><small>2.000 ms, 87.50 %</small>"));
    let rows = text(&table);
    assert_eq!(rows.lines().count(), 1 + 3, "{rows}");
    let row = "methods,lrr,0,1,0.500000,EPYC,1,1,1.32,32,infer,400,2,0.25,0.5,0,0.875,";
    assert!(rows.contains(row), "{rows}");
    let listed = Manifest::read(&folder, REPORT_MANIFEST).unwrap().unwrap();
    assert!(listed.files.contains_key("figures/latencies.csv"));
}

#[test]
fn what_a_stranger_wrote_is_text_on_the_page_and_in_the_pictures() {
    const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
    let desk = Desk::new();
    let run = RunDir::new(desk.path("lrr"));
    let identity = serde_json::json!({
        "identity": HOSTILE, "canonical": { "data_checksum": "abc" },
        "plugins": { HOSTILE: { "version": HOSTILE, "blake3": HOSTILE } },
    });
    store::write(&run.file("identity.json"), identity.to_string().as_bytes()).unwrap();
    let before = text(&run.file("experiment.toml"));
    let commented = format!("# {HOSTILE}\n{before}");
    store::write(&run.file("experiment.toml"), commented.as_bytes()).unwrap();
    let folder = desk.write_sweep(HOSTILE, &[(HOSTILE, "lrr"), ("imp", "imp")], None);
    let mut record = SweepRecord::read(&folder).unwrap();
    record.name = HOSTILE.to_owned();
    record.parts[0].name = format!("../../{HOSTILE}");
    for cell in &mut record.parts[0].cells {
        cell.values
            .insert(HOSTILE.to_owned(), serde_json::json!(HOSTILE));
    }
    crate::store::write(&folder.join("sweep.json"), &record.bytes().unwrap()).unwrap();
    let written = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    let page = without_script(&text(&written.page));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    let pictures = written.figures.iter().map(|name| {
        assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
        text(&folder.join(format!("figures/{name}.svg")))
    });
    for shown in pictures.chain([page]) {
        for tag in ["<script", "<img", "\"'><"] {
            assert!(!shown.contains(tag), "{tag}");
        }
    }
}

#[test]
fn every_kind_of_figure_is_there() {
    let desk = Desk::new();
    let folder = sweep(&desk);
    let written = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    for kind in [
        "methods-test-accuracy",
        "methods-paired-test-accuracy",
        "methods-test-nll",
        "methods-test-ece",
        "methods-classes-lrr",
        "methods-confusion-lrr",
        "methods-flips-against-init",
        "methods-flips-against-level-start",
        "methods-flips-against-previous-end",
        "methods-flips-by-epoch-lrr",
        "methods-flips-within-level-lrr",
        "methods-layers-lrr",
        "methods-recovery-level-2-density-0.640",
        "methods-overlap-between-levels-lrr",
        "methods-overlap-between-methods-level-2-density-0.640",
        "methods-overlap-between-seeds",
        "methods-success",
        "methods-quadrants-imp",
        "methods-trajectory-d-2-init-3",
        "methods-closed-form",
        "methods-step-error",
    ] {
        assert!(
            written.figures.iter().any(|it| it == kind),
            "{kind}: {:?}",
            written.figures
        );
    }
}

#[test]
fn figures_hold_the_numbers_that_were_recorded() {
    let desk = Desk::new();
    let folder = sweep(&desk);
    build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    let accuracy = text(&folder.join("figures/methods-test-accuracy.csv"));
    // Level 1 of lrr: 70, 72 and 74 %, so s = 2 and the half-width is 4.302653 * 2 / sqrt(3).
    let line = "lrr,,1,0.800000,3,72.0000,67.0317,76.9683";
    assert!(accuracy.lines().any(|it| it == line), "{accuracy}");
    // What is no share stands in its own unit: 2 less 0.70, 0.72 and 0.74.
    let nll = text(&folder.join("figures/methods-test-nll.csv"));
    let line = "lrr,,1,0.800000,3,1.2800,1.2303,1.3297";
    assert!(nll.lines().any(|it| it == line), "{nll}");
    // Only one of the methods was asked.
    assert_eq!(nll.lines().count(), 1 + 3);
    let ece = text(&folder.join("figures/methods-test-ece.csv"));
    assert!(
        ece.contains("lrr,,2,0.640000,3,5.0000,5.0000,5.0000"),
        "{ece}"
    );
    let classes = text(&folder.join("figures/methods-classes-lrr.csv"));
    // 250, 251 and 252 of 500 each.
    assert!(classes.contains("lrr,1,2,1500,0.502000"), "{classes}");
    let confusion = text(&folder.join("figures/methods-confusion-lrr.csv"));
    assert!(confusion.contains("lrr,2,1,0,747"), "{confusion}");
    let overlap = folder.join("figures/methods-overlap-between-levels-lrr.csv");
    assert!(text(&overlap).contains("lrr,0,2,3,0.640000"));
    // Level 2 of lrr: 3 - 1 + 2 of 64 in the second epoch, of each of three seeds.
    let flips = text(&folder.join("figures/methods-flips-by-epoch-lrr.csv"));
    assert!(flips.contains("lrr,2,2,3,6.2500,6.2500,6.2500"), "{flips}");
    // Runs of versions that did not count them are shown without.
    let other = folder.join("figures/methods-flips-by-epoch-imp.csv");
    assert!(!other.exists());
    let layers = text(&folder.join("figures/methods-layers-lrr.csv"));
    assert!(layers.contains("lrr,fc1.weight,2,0.280000"));
    let summary = text(&folder.join("figures/summary.csv"));
    assert!(
        summary.starts_with("part,run,method,seed,level,weights,"),
        "{summary}"
    );
    assert_eq!(summary.lines().count(), 1 + 9 + 9 + 5);
    let claims = text(&folder.join("figures/claims.csv"));
    assert!(
        claims.contains(",2,3,4.5000,2.0159,6.9841,visible,"),
        "{claims}"
    );
}

#[test]
fn a_png_is_drawn_with_its_text() {
    let desk = Desk::new();
    let run = desk.path("lrr");
    let out = desk.path("out");
    let written = build(&[Subject::Run(run)], &out, true).unwrap();
    let name = written
        .figures
        .iter()
        .find(|it| it.ends_with("test-accuracy"))
        .unwrap();
    let png = image::open(out.join(format!("figures/{name}.png")))
        .unwrap()
        .to_luma8();
    // The title is in the uppermost pixels; without a font there would be nothing.
    let dark = |rows: std::ops::Range<u32>| {
        let all = rows.flat_map(|y| (0..png.width()).map(move |x| (x, y)));
        all.filter(|(x, y)| png.get_pixel(*x, *y).0[0] < 100)
            .count()
    };
    assert!(dark(10..56) > 300, "{}", dark(10..56));
}

#[test]
fn a_run_that_never_began_is_shown_as_missing_beside_the_others() {
    let desk = Desk::new();
    let folder = desk.write_sweep("t", &[("lrr", "lrr"), ("wr", "wr-not-there")], None);
    let written = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    assert_eq!(written.missing.len(), 1);
    assert_eq!(written.missing[0].what, "wr");
    assert!(text(&written.page).contains("no level is finished yet"));
    assert_eq!(written.claims[0].1.verdict.word(), "not-decided");
}

#[test]
fn a_report_of_nothing_is_refused_with_what_to_do() {
    let desk = Desk::new();
    let folder = desk.write_sweep("t", &[("lrr", "none"), ("wr", "nor-this")], None);
    let error = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("no level of paper is finished yet"),
        "{error}"
    );
    assert!(error.contains("called run sweep.toml"), "{error}");
    assert!(!folder.join("report.html").exists());
}

#[test]
fn the_same_runs_give_the_same_bytes() {
    let desk = Desk::new();
    let folder = sweep(&desk);
    let page = || {
        let written = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
        text(&written.page)
    };
    assert_eq!(page(), page());
}

#[test]
fn a_grid_is_drawn_along_its_numbers_and_each_combination_for_itself() {
    let desk = Desk::new();
    let folder = desk.write_sweep("t", &[("lrr", "lrr"), ("imp", "imp")], None);
    let mut record = SweepRecord::read(&folder).unwrap();
    let cells = record.parts[0].cells.clone();
    record.parts[0].cells = [8, 64]
        .into_iter()
        .flat_map(|width| {
            let mut cells = cells.clone();
            for cell in &mut cells {
                cell.name = format!("{}-{width}", cell.method);
                let widths = serde_json::json!([width, width]);
                cell.values.insert("model.hidden".to_owned(), widths);
            }
            cells
        })
        .collect();
    crate::store::write(&folder.join("sweep.json"), &record.bytes().unwrap()).unwrap();
    let written = build(&[Subject::Sweep(folder.clone())], &folder, false).unwrap();
    for kind in [
        "methods-test-accuracy-model.hidden-8-8",
        "methods-test-accuracy-model.hidden-64-64",
        "methods-test-accuracy-along-model.hidden-density-0.640",
    ] {
        assert!(
            written.figures.iter().any(|it| it == kind),
            "{kind}: {:?}",
            written.figures
        );
    }
    // A claim is judged at each width.
    assert_eq!(written.claims.len(), 2);
    assert_eq!(written.claims[1].1.combination, "model.hidden = [64, 64]");
    let along = "figures/methods-test-accuracy-along-model.hidden-density-0.640.csv";
    assert!(text(&folder.join(along)).contains("lrr,,64,2,0.640000,3,67.0000"));
}
