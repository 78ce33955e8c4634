//! What the process has: threads, file descriptors, memory. After a round it has what it had
//! before.

use std::alloc::System;
use std::fmt;
use std::fs::read_dir;
use std::thread;
use std::time::{Duration, Instant};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// What a program that does the same again and again may come to hold more: the tables of the
/// runtime, which grow by doubling.
const SLACK: usize = 256 << 10;
/// Threads that have told their end need a moment until they are gone.
pub(crate) const SETTLES: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
pub(crate) struct Census {
    threads: usize,
    files: usize,
    bytes: usize,
}

impl Census {
    pub(crate) fn now() -> Census {
        // Where there is no such directory nothing is counted. One of the files is the directory
        // itself.
        let entries = |path| read_dir(path).map_or(0, Iterator::count);
        Census { threads: entries("/proc/self/task"), files: entries("/proc/self/fd"), bytes: HEAP.allocated() }
    }

    /// What there is more than there was at first; waits for threads that are about to end.
    pub(crate) fn grown(self) -> Option<String> {
        let begun = Instant::now();
        loop {
            let now = Census::now();
            if now.threads <= self.threads && now.files <= self.files && now.bytes <= self.bytes + SLACK {
                return None;
            }
            if begun.elapsed() > SETTLES {
                return Some(format!("there was {self}; now there is {now}"));
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
