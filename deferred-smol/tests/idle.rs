//! An idle loop sleeps, and so does its watchdog, measured by the number of context switches of
//! each thread.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use deferred_smol::{Reactor, ReactorHandle, Watchdog, park};

/// The name of the watchdog's threads, of which Linux keeps fifteen characters.
const DOG: &str = "deferred-watchd";

/// Returns the number of voluntary context switches of a thread.
fn sleeps(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).expect("the thread lives");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).expect("Linux counts them");
    line.split_whitespace().last().and_then(|count| count.parse().ok()).expect("it is a number")
}

/// Returns all threads of this process whose name begins with `name`.
fn named(name: &str) -> Vec<PathBuf> {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    threads.filter(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.starts_with(name))).collect()
}

/// Returns `true` once no thread wakes for a while.
fn come_to_rest(threads: &[PathBuf]) -> bool {
    let count = || threads.iter().map(|thread| sleeps(thread)).collect::<Vec<_>>();
    (0..20).any(|_| {
        let before = count();
        thread::sleep(Duration::from_millis(400));
        count() == before
    })
}

/// Sets up a reactor with one timer in an hour.
fn set_up(reactor: &Reactor, ready: &Sender<(PathBuf, ReactorHandle)>) {
    reactor.call_later(Duration::from_secs(3600), || ());
    Watchdog::new().start(reactor).unwrap();
    let this = Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap());
    ready.send((this, reactor.handle())).unwrap();
}

#[test]
fn no_thread_wakes_while_idle() {
    let (ready, loops) = mpsc::channel();
    let (first, second) = (ready.clone(), ready);
    let threads = [
        thread::spawn(move || park::run(|reactor| set_up(reactor, &first))),
        thread::spawn(move || deferred_smol::run(|reactor| set_up(reactor, &second))),
    ];
    let (mut watched, handles): (Vec<_>, Vec<_>) = loops.iter().take(2).unzip();
    // Each loop runs some calls first.
    for handle in &handles {
        handle.call_from_thread(|| ()).unwrap();
    }
    // A thread gets its name when it starts.
    while named(DOG).len() < 2 {
        thread::yield_now();
    }
    watched.extend(named(DOG));
    assert!(come_to_rest(&watched), "something wakes again and again");
    handles.iter().for_each(ReactorHandle::stop);
    for thread in threads {
        thread.join().unwrap();
    }
}
