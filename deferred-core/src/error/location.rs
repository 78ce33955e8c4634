//! Which locations a report shows: those of the program.

use super::CallSite;

/// The names of the published crates, by which the paths of their sources are recognized.
const CRATES: [&str; 6] =
    ["deferred-core", "deferred-mio", "deferred-net", "deferred-smol", "deferred-threadpool", "deferred-tokio"];

/// Returns the location unless it is in the standard library or in one of these crates, which tell
/// the reader of a report nothing.
pub(crate) fn of_user(at: CallSite) -> Option<CallSite> {
    (!is_internal(at.file())).then_some(at)
}

fn is_internal(file: &str) -> bool {
    // The standard library is compiled elsewhere, unless a toolchain has its sources.
    if file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/library/") {
        return true;
    }
    let mut before = "";
    for part in file.split(['/', '\\']) {
        if part == "src" && is_crate(before) {
            return true;
        }
        before = part;
    }
    false
}

/// Returns `true` if a folder is that of one of the crates: `deferred-core`, or
/// `deferred-core-0.1.0` in the folder of a registry.
fn is_crate(folder: &str) -> bool {
    let rest = CRATES.iter().find_map(|name| folder.strip_prefix(name));
    rest.is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::is_internal;

    #[test]
    fn the_sources_of_the_crates_and_of_the_standard_library_are_internal() {
        for file in [
            "deferred-core/src/engine/raw/stage.rs",
            r"deferred-threadpool\src\worker\run.rs",
            "/home/me/.cargo/registry/src/index-0123456789abcdef/deferred-net-0.1.0/src/connection.rs",
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/ops/function.rs",
            "/opt/rust/lib/rustlib/src/rust/library/alloc/src/boxed.rs",
        ] {
            assert!(is_internal(file), "{file}");
        }
    }

    #[test]
    fn other_files_belong_to_the_user() {
        for file in [
            "src/main.rs",
            "deferred-core/tests/unhandled.rs",
            "deferred-core-extras/src/lib.rs",
            "my-deferred-core/src/lib.rs",
            "library/core/src/lib.rs",
            "books/library/shelf/src/lib.rs",
        ] {
            assert!(!is_internal(file), "{file}");
        }
    }
}
