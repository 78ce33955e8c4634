//! The machine on which the rows were measured.

use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
pub(crate) struct Machine {
    /// The name of the processor.
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) system: String,
    pub(crate) rust: String,
    pub(crate) date: String,
}

impl Machine {
    /// Returns this machine, with a question mark for unknown properties.
    pub(crate) fn this() -> Machine {
        let ask = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
            output.map_or_else(|| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Machine {
            processor: processor.unwrap_or_else(|| ask("uname", &["-m"])),
            processors: thread::available_parallelism().map_or(0, usize::from),
            system: ask("uname", &["-sr"]),
            rust: ask("rustc", &["--version"]),
            date: ask("date", &["-u", "+%Y-%m-%d"]),
        }
    }
}
