//! Replays recorded Twisted programs on `deferred-core`, and compares the traces row by row.
//!
//! `FORMAT.md` in this crate describes the files. Each scenario is a small program over named
//! Deferreds, with the exact trace that Twisted produced for it. The replay uses only public
//! interface, so it also proves that the interface can express all of these programs.
//!
//! ```
//! use deferred_conformance::{Handles, replay_text};
//!
//! let text = r#"{"id": "first", "end": "results",
//!     "steps": [["succeed", "d1", 20], ["add_callback", "d1", {"id": 1, "return": ["add", 1]}]],
//!     "trace": [["step", 0], ["step", 1], ["cb", 1, {"ok": 20}]],
//!     "final": {"d1": {"ok": 21}}}"#.replace('\n', "");
//! let report = replay_text("first.jsonl", &text, Handles::WhereCancelled)?;
//! assert_eq!(report.to_string(), "first.jsonl: 1 passed, 0 failed\n");
//! # Ok::<(), deferred_conformance::Error>(())
//! ```

use std::io::Read as _;
use std::path::Path;

mod action;
mod chain;
mod inline;
mod many;
mod report;
pub mod scenario;
mod sync;
mod time;
mod world;

pub use report::{Difference, Error, Report};
pub use world::{Handles, replay};

use scenario::Scenario;

/// Replays a file of scenarios, plain or compressed with gzip.
///
/// # Errors
///
/// Returns [`Error`] if the file cannot be read or is not in the format. No scenario has been
/// replayed then.
pub fn replay_file(path: &Path, handles: Handles) -> Result<Report, Error> {
    let unreadable = |cause| Error::Unreadable { file: path.display().to_string(), cause };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let mut text = String::new();
    if bytes.starts_with(&GZIP_MAGIC) {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text)
    } else {
        (&bytes[..]).read_to_string(&mut text)
    }
    .map_err(unreadable)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    replay_text(&name, &text, handles)
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Replays scenarios, one JSON object on each line; `name` is the name in the report.
///
/// # Errors
///
/// Returns [`Error`] if a line is not in the format. No scenario has been replayed then.
pub fn replay_text(name: &str, text: &str, handles: Handles) -> Result<Report, Error> {
    let scenarios = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let place = || format!("{name}:{}", index + 1);
            Scenario::parse(line).map_err(|why| Error::Malformed { place: place(), why: why.to_string() })
        })
        .collect::<Result<Vec<_>, _>>()?;

    let mut report = Report { name: name.to_owned(), passed: 0, differences: Vec::new() };
    for scenario in scenarios {
        match replay(scenario, handles) {
            Ok(()) => report.passed += 1,
            Err(difference) => report.differences.push(difference),
        }
    }
    Ok(report)
}
