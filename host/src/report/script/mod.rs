//! The script of the page. Its files are modules that import each other; what is shared with the page of `watch` stands in
//! files of its own.

/// Numbers, times and elements.
pub const WORDS: &str = include_str!("words.js");

/// A line chart with values under the pointer.
pub const CHART: &str = include_str!("chart.js");

const EXPLORER: &str = include_str!("explorer.js");

/// All of it as one script: a page that is one file cannot import.
pub fn whole() -> String {
    let own = |line: &&str| !line.starts_with("import ");
    let lines = [WORDS, CHART, EXPLORER].into_iter().flat_map(str::lines);
    let lines = lines.filter(own);
    let lines: Vec<&str> = lines
        .map(|it| it.strip_prefix("export ").unwrap_or(it))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_script_imports_nothing_and_says_no_name_twice() {
        let whole = whole();
        assert!(
            !whole.contains("import ") && !whole.contains("export ") && !whole.contains("</script")
        );
        let named = |line: &str| {
            let rest = ["function ", "async function ", "const "]
                .iter()
                .find_map(|it| line.strip_prefix(it))?;
            Some(
                rest.split(|it: char| !it.is_alphanumeric() && it != '_')
                    .next()?
                    .to_owned(),
            )
        };
        let mut names: Vec<String> = whole
            .lines()
            .filter_map(named)
            .filter(|it| !it.is_empty())
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert!(count > 20 && names.len() == count, "{names:?}");
    }
}
