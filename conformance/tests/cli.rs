//! The output and the exit codes of the command.

use std::fs;
use std::path::Path;
use std::process::Command;

const PASSES: &str = r#"{"id":"good","end":"results","steps":[["log",1]],"trace":[["step",0],["log",1]],"final":{}}"#;
const FAILS: &str = r#"{"id":"bad","end":"results","steps":[["log",1]],"trace":[["step",0],["log",2]],"final":{}}"#;

/// Runs the command in a new directory that is named after the test and contains `files`. Returns
/// its exit code, its output and its errors.
fn run(test: &str, files: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(test);
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    run_in(&directory, arguments)
}

fn run_in(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_deferred-conformance"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_file_that_passes_is_one_line_and_exits_0() {
    let (code, out, err) = run("passes", &[("a.jsonl", PASSES)], &["a.jsonl"]);
    assert_eq!((code, &*out, &*err), (0, "a.jsonl: 1 passed, 0 failed\n", ""));
}

#[test]
fn a_recording_passes_both_ways() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for arguments in [&["chain.jsonl.gz"][..], &["--handles", "chain.jsonl.gz"]] {
        let (code, out, _) = run_in(&data, arguments);
        assert_eq!((code, &*out), (0, "chain.jsonl.gz: 400 passed, 0 failed\n"));
    }
}

#[test]
fn a_scenario_that_differs_is_shown_and_exits_1() {
    let both = format!("{FAILS}\n{PASSES}\n");
    let (code, out, err) = run("differs", &[("a.jsonl", &both), ("b.jsonl", PASSES)], &["a.jsonl", "b.jsonl"]);
    let expected = r#"bad differs in row 1
  expected: ["log",2]
  ours:     ["log",1]
a.jsonl: 1 passed, 1 failed
b.jsonl: 1 passed, 0 failed
"#;
    assert_eq!((code, &*out, &*err), (1, expected, ""));
}

#[test]
fn a_missing_file_exits_2_and_the_others_are_replayed() {
    let (code, out, err) = run("not_there", &[("a.jsonl", FAILS)], &["none.jsonl", "a.jsonl"]);
    assert_eq!(code, 2);
    assert!(out.ends_with("a.jsonl: 0 passed, 1 failed\n"), "{out}");
    assert!(err.starts_with("none.jsonl: "), "{err}");
}

#[test]
fn a_line_that_is_not_json_exits_2() {
    let (code, out, err) = run("no_json", &[("a.jsonl", &format!("{PASSES}\n{{\"id\":"))], &["a.jsonl"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.starts_with("a.jsonl:2: not JSON: "), "{err}");
}

#[test]
fn an_invalid_command_exits_2_with_the_usage() {
    for arguments in [&[][..], &["--handle", "a.jsonl"]] {
        let (code, out, err) = run("usage", &[("a.jsonl", PASSES)], arguments);
        assert_eq!((code, &*out), (2, ""));
        assert!(err.contains("usage: deferred-conformance [--handles] FILE..."), "{err}");
    }
}
