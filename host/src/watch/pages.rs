//! The files of the page, which are part of the program.

use crate::report::script;

const HTML: &str = "text/html";
const STYLE: &str = "text/css";
const SCRIPT: &str = "text/javascript";
const PICTURE: &str = "image/svg+xml";

/// Path, kind and text of each.
const FILES: [(&str, &str, &str); 11] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", STYLE, include_str!("page/style.css")),
    ("/icon.svg", PICTURE, include_str!("page/icon.svg")),
    ("/main.js", SCRIPT, include_str!("page/main.js")),
    ("/stream.js", SCRIPT, include_str!("page/stream.js")),
    ("/words.js", SCRIPT, script::WORDS),
    ("/rows.js", SCRIPT, include_str!("page/rows.js")),
    ("/table.js", SCRIPT, include_str!("page/table.js")),
    ("/chart.js", SCRIPT, script::CHART),
    ("/curves.js", SCRIPT, include_str!("page/curves.js")),
    ("/panel.js", SCRIPT, include_str!("page/panel.js")),
];

/// The kind and the text of a file of the page.
pub fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let found = FILES.iter().find(|it| it.0 == path);
    found.map(|it| (it.1, it.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_its_own_files_alone_and_has_no_script_or_style_within() {
        for (path, _, text) in FILES {
            for (at, _) in text.match_indices("://") {
                let from = at.saturating_sub(5);
                let word = &text[from..(at + 20).min(text.len())];
                assert!(word.contains("www.w3.org"), "{path}: {word}");
            }
            for wrong in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=\"",
                " onclick=",
            ] {
                assert!(!text.contains(wrong), "{path} has {wrong}");
            }
        }
        let html = file("/").unwrap().1;
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains("<script type=\"module\" src=\"main.js\"></script>"));
        assert!(!html.contains("<style"));
        // Every module that one of them imports is there.
        for (path, kind, text) in FILES {
            for part in text.split(" from \"./").skip(1).filter(|_| kind == SCRIPT) {
                let name = part.split('"').next().unwrap();
                assert!(file(&format!("/{name}")).is_some(), "{path} imports {name}");
            }
        }
    }
}
