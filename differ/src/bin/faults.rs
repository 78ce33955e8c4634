//! A check that the differ detects faults: it inserts faults into the real engine, one at a time,
//! and checks that the differ finds each of them.
//!
//! ```text
//! cargo run --release -p deferred-differ --bin faults                  every fault of differ/faults.txt
//! cargo run --release -p deferred-differ --bin faults -- PART          those whose name contains PART
//! ```
//!
//! It works on a copy of the sources in the target folder, so the tree is unchanged. A fault is
//! found if the two engines differ within 300,000 programs, or if the real one ends the process.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

const PROGRAMS: &str = "300000";

struct Fault<'a> {
    name: &'a str,
    file: &'a str,
    right: String,
    wrong: String,
}

/// Reads a list of faults: `= name`, the file, the correct lines after `-`, and the wrong ones
/// after `+`.
fn read(list: &str) -> Vec<Fault<'_>> {
    let faults = list.split("\n= ").skip(1).map(|fault| {
        let mut lines = fault.lines();
        let (name, file) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let marked = |mark| {
            let lines: Vec<_> = fault.lines().skip(2).filter_map(|line: &str| line.strip_prefix(mark)).collect();
            lines.join("\n")
        };
        Fault { name, file, right: marked("-"), wrong: marked("+") }
    });
    faults.collect()
}

fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

fn cargo(tree: &Path) -> Command {
    let mut command = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(tree);
    // The release profile takes longer to build than it saves.
    command.args(["run", "--quiet", "--package", "deferred-differ", "--bin", "deferred-differ", "--"]);
    command.env("CARGO_TARGET_DIR", tree.with_file_name("faults-target")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    command.args(["--programs", PROGRAMS]);
    command
}

/// Returns `true` if the differ finds the fault.
fn found(tree: &Path, fault: &Fault<'_>) -> Result<bool, Box<dyn Error>> {
    let path = tree.join(fault.file);
    let right = fs::read_to_string(&path)?;
    if right.matches(&fault.right).count() != 1 {
        return Err(format!("{}: its lines are not there exactly once in {}", fault.name, fault.file).into());
    }
    fs::write(&path, right.replacen(&fault.right, &fault.wrong, 1))?;
    let output = cargo(tree).stderr(Stdio::piped()).stdout(Stdio::piped()).output()?;
    fs::write(&path, right)?;
    let output_text = String::from_utf8_lossy(&output.stdout);
    if !output_text.starts_with("seed") {
        return Err(format!("{}: does not build:\n{}", fault.name, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(!output.status.success())
}

fn run() -> Result<bool, Box<dyn Error>> {
    let part = env::args().nth(1).unwrap_or_default();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = fs::read_to_string(root.join("differ/faults.txt"))?;
    let tree = root.join("target/faults");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    copy(&root, &tree)?;
    if !cargo(&tree).stdout(Stdio::null()).status()?.success() {
        return Err("the engines differ without a fault".into());
    }
    let faults: Vec<_> = read(&list).into_iter().filter(|fault| fault.name.contains(&part)).collect();
    if faults.is_empty() {
        return Err("no fault has that in its name".into());
    }
    let mut all = true;
    for fault in &faults {
        let found = found(&tree, fault)?;
        println!("{}: {}", fault.name, if found { "found" } else { "NOT FOUND" });
        all &= found;
    }
    Ok(all)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
