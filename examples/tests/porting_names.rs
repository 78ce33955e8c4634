//! The guide to porting and the design name only what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 6] =
    ["deferred-core", "deferred-net", "deferred-smol", "deferred-tokio", "deferred-mio", "deferred-threadpool"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// Returns the names of functions, types, modules and variants of the published crates.
fn names() -> BTreeSet<String> {
    let mut texts = Vec::new();
    for name in CRATES {
        sources(&root().join(name).join("src"), &mut texts);
    }
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let mut names = BTreeSet::new();
    for line in texts.iter().flat_map(|text| text.lines()).map(str::trim) {
        if line.starts_with("//") {
            continue;
        }
        for keyword in ["fn ", "struct ", "enum ", "trait ", "type ", "mod "] {
            for (at, _) in line.match_indices(keyword) {
                if line[..at].chars().next_back().is_none_or(|before| !is_part(before)) {
                    names.insert(line[at + keyword.len()..].split(|c| !is_part(c)).next().unwrap().to_owned());
                }
            }
        }
        // A variant of an enum.
        let word = line.split(|c| !is_part(c)).next().unwrap();
        if word.starts_with(char::is_uppercase) && line[word.len()..].starts_with([',', '(', '{', ' ']) {
            names.insert(word.to_owned());
        }
    }
    names
}

/// Returns the counterparts in the third column of a table.
fn counterparts(line: &str) -> Vec<String> {
    let columns: Vec<_> = line.split(" | ").collect();
    if columns.len() < 4 || columns[0] == "| ---" {
        return Vec::new();
    }
    columns[2].split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn each_counterpart_in_the_guide_to_porting_exists() {
    let guide = fs::read_to_string(root().join("docs/porting.md")).unwrap();
    let names = names();
    let mut count = 0;
    for line in guide.lines() {
        for counterpart in counterparts(line) {
            count += 1;
            for part in counterpart.trim_start_matches('.').split("::") {
                assert!(
                    part == "await" || part == "net" || names.contains(part),
                    "{counterpart} does not exist: {line}"
                );
            }
        }
    }
    assert!(count > 250, "only {count} names were found");
    assert!(!names.contains("such_a_name") && names.contains("add_callback"));
}

/// Returns the file and the name of each test in a line: "`file.rs`: `one`, `another`".
fn named_tests(line: &str) -> Vec<(String, String)> {
    let mut tests = Vec::new();
    for part in line.split("`: `").collect::<Vec<_>>().windows(2) {
        let file = part[0].rsplit('`').next().unwrap();
        let names = part[1].split("` |").next().unwrap().split("` and").next().unwrap();
        tests.extend(names.split("`, `").map(|name| (file.to_owned(), name.trim_end_matches('`').to_owned())));
    }
    tests.retain(|(file, _)| file.ends_with(".rs"));
    tests
}

#[test]
fn each_test_in_the_design_exists() {
    let design = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let mut count = 0;
    for (file, test) in design.lines().filter(|line| line.starts_with('|')).flat_map(named_tests) {
        let folder = if file.starts_with("deferred-") { root() } else { root().join("deferred-core/tests") };
        let text = fs::read_to_string(folder.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&test), "{file} has no {test}");
        count += 1;
    }
    assert!(count > 50, "only {count} tests were found");
}
