//! The threads, file descriptors and memory of the process. After a round they must be what they
//! were before.

use std::alloc::System;
use std::fmt;
use std::fs::read_dir;
use std::thread;
use std::time::{Duration, Instant};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// The tolerated growth of the heap: tables of the runtime grow by doubling.
const SLACK: usize = 256 << 10;
/// The time that threads have to exit after they reported their end.
pub(crate) const SETTLES: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
pub(crate) struct Census {
    threads: usize,
    files: usize,
    bytes: usize,
}

impl Census {
    pub(crate) fn now() -> Census {
        // Nothing is counted on systems without this directory. One of the open files is the
        // directory itself.
        let entries = |path| read_dir(path).map_or(0, Iterator::count);
        Census { threads: entries("/proc/self/task"), files: entries("/proc/self/fd"), bytes: HEAP.allocated() }
    }

    /// Compares with the current state, and returns a description if it has grown. Waits for
    /// threads that are about to exit.
    pub(crate) fn grown(self) -> Option<String> {
        let begun = Instant::now();
        loop {
            let now = Census::now();
            if now.threads <= self.threads && now.files <= self.files && now.bytes <= self.bytes + SLACK {
                return None;
            }
            if begun.elapsed() > SETTLES {
                return Some(format!("before: {self}; now: {now}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Census { threads, files, bytes } = self;
        write!(f, "{threads} threads, {files} files, {bytes} bytes")
    }
}
