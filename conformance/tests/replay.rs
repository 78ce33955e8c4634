//! The recordings in `data/` replay exactly.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use deferred_conformance::scenario::Scenario;
use deferred_conformance::{Handles, replay_file, replay_text};
use flate2::read::GzDecoder;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

fn assert_all_pass(name: &str, handles: Handles) {
    let report = replay_file(&data(name), handles).unwrap();
    assert_eq!(report.to_string(), format!("{name}: 400 passed, 0 failed\n"));
}

const FAMILIES: [&str; 5] = ["chain.jsonl.gz", "inline.jsonl.gz", "many.jsonl.gz", "sync.jsonl.gz", "time.jsonl.gz"];

#[test]
fn all_replay_with_cancel_handles_only_where_they_are_needed() {
    FAMILIES.iter().for_each(|name| assert_all_pass(name, Handles::WhereCancelled));
}

#[test]
fn all_replay_with_a_cancel_handle_for_every_name() {
    FAMILIES.iter().for_each(|name| assert_all_pass(name, Handles::Everywhere));
}

#[test]
fn a_plain_file_replays_as_its_compressed_one_does() {
    let plain = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chain.jsonl");
    let mut packed = GzDecoder::new(File::open(data("chain.jsonl.gz")).unwrap());
    let mut text = Vec::new();
    packed.read_to_end(&mut text).unwrap();
    fs::write(&plain, text).unwrap();

    let report = replay_file(&plain, Handles::WhereCancelled).unwrap();
    assert_eq!(report.to_string(), "chain.jsonl: 400 passed, 0 failed\n");
}

#[test]
fn a_cancel_in_a_nested_step_finds_its_handle() {
    let text = r#"{"id":"nested","end":"results","steps":[["new","d1",null],["succeed","d2",1],["add_callback","d2",{"id":1,"do":[["cancel","d1"]],"return":["same"]}]],"trace":[["step",0],["step",1],["step",2],["cb",1,{"ok":1}]],"final":{"d1":{"err":"Cancelled"},"d2":{"ok":1}}}"#;
    let report = replay_text("nested", text, Handles::WhereCancelled).unwrap();
    assert_eq!(report.to_string(), "nested: 1 passed, 0 failed\n");
}

#[test]
fn every_step_of_the_format_is_read() {
    let steps = [
        r#"["new","d1",["errback","E1"]]"#,
        r#"["gather","g1",["d1"]]"#,
        r#"["list","l1",["d1"],true,false]"#,
        r#"["race","r1",["d1"]]"#,
        r#"["advance",1.5]"#,
        r#"["call_later","c1",2,{"id":1,"return":["same"]}]"#,
        r#"["call_cancel","c1"]"#,
        r#"["call_reset","c1",0.5]"#,
        r#"["call_delay","c1",0.5]"#,
        r#"["call_active","c1"]"#,
        r#"["timeout","d1",1,null]"#,
        r#"["defer_later","d2",1,{"id":2,"return":["value",[1,"a",null]]}]"#,
        r#"["loop","l1","d3",0.5,true,false,{"id":3,"return":["seq",[["add",1],["deferred","d1"]]],"times":3}]"#,
        r#"["loop_stop","l1"]"#,
        r#"["loop_reset","l1"]"#,
        r#"["queue","q1",null,2]"#,
        r#"["put","q1",1]"#,
        r#"["get","d4","q1"]"#,
        r#"["lock","s1"]"#,
        r#"["semaphore","s2",2]"#,
        r#"["acquire","d5","s1"]"#,
        r#"["release","s1"]"#,
        r#"["run","d6","s2",{"id":4,"do":[["cancel","d1"]],"return":["raise","E2"]}]"#,
        r#"["inline","i1",[["log",1],["do",["pause","d1"]],["await",2,"d1","all"],["await",3,"d2",null],["return",4],["raise","E1"]]]"#,
    ];
    let text = format!(
        r#"{{"id":"all","end":"unhandled","steps":[{}],"trace":[],"unhandled":["\"E1\"","[\"FirstError\",0,\"E1\"]"]}}"#,
        steps.join(",")
    );
    let scenario = Scenario::parse(&text).unwrap();
    let words: Vec<_> = scenario.steps.iter().map(|step| &*step.word).collect();
    for (word, step) in words.iter().zip(&steps) {
        assert!(step.starts_with(&format!("[\"{word}\"")), "{word} in {step}");
    }
    assert_eq!(words.len(), steps.len());
}

#[test]
fn invalid_input_is_refused_with_its_line() {
    let with_steps = |steps: &str| format!(r#"{{"id":"x","end":"results","steps":[{steps}],"trace":[],"final":{{}}}}"#);
    for (steps, why) in [
        (r#"["jump","d1"]"#, r#"expected a step, found ["jump","d1"]"#),
        (r#"["cancel"]"#, r#"expected more fields, found ["cancel"]"#),
        (r#"["cancel","d1",2]"#, r#"expected fewer fields, found ["cancel","d1",2]"#),
        (r#"["log","one"]"#, r#"expected an integer, found "one""#),
    ] {
        let text = format!("{}\n{}", with_steps(""), with_steps(steps));
        let error = replay_text("bad.jsonl", &text, Handles::Everywhere).unwrap_err();
        assert_eq!(error.to_string(), format!("bad.jsonl:2: {why}"));
    }
}
