//! The thread that waits for the end of a process.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use deferred_core::{Failure, RemoteFuture};
use rustix::process::{Pid, Signal, kill_process};

/// The delay between two questions whether a process has exited, on a system that cannot wait for
/// it.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A process, whose number is not used again before `exited` is set.
pub(super) struct SharedChild {
    pid: u32,
    exited: Mutex<bool>,
}

impl SharedChild {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.exited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, or `NotFound` if the process has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        // While it is locked, the process is not reaped, and its number is its own.
        let exited = self.lock();
        match pid(self.pid) {
            Some(pid) if !*exited => Ok(kill_process(pid, signal)?),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended")),
        }
    }
}

/// Waits until a process has exited. It stays in the list of processes, so that a signal at the
/// same time finds it.
#[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "cygwin")))]
fn wait_without_reaping(number: u32) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let Some(pid) = pid(number) else { return };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
}

#[cfg(any(target_os = "openbsd", target_os = "redox", target_os = "cygwin"))]
fn wait_without_reaping(_: u32) {}

/// Reaps a process that has exited. If that is not known, asks repeatedly, and does not block
/// signals meanwhile.
fn reap(shared: &SharedChild, child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        let mut exited = shared.lock();
        let status = child.try_wait().transpose();
        if let Some(status) = status {
            *exited = true;
            return status;
        }
        drop(exited);
        thread::sleep(RETRY_DELAY);
    }
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(number.try_into().ok()?)
}

/// Kills a process that cannot be served. Returns `error`.
pub(super) fn kill(mut child: Child, error: io::Error) -> io::Error {
    let _ = child.kill(); // it may have ended
    let _ = child.wait();
    error
}

/// Starts a thread that waits for the end of a process, and reaps it, also if the loop has ended.
///
/// # Errors
///
/// Returns the error of the system if it cannot create a thread. The process is killed then.
pub(super) fn start(child: Child) -> io::Result<(Arc<SharedChild>, RemoteFuture<ExitStatus>)> {
    let shared = Arc::new(SharedChild { pid: child.id(), exited: Mutex::new(false) });
    let (exit, completer) = RemoteFuture::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = shared.clone();
    let waits = move || {
        let Ok(mut child): Result<Child, _> = receiver.recv() else { return };
        wait_without_reaping(waiting.pid);
        completer.fire(reap(&waiting, &mut child).map_err(Failure::from));
    };
    match thread::Builder::new().name("deferred-process".into()).stack_size(64 * 1024).spawn(waits) {
        Ok(_) => {
            let _ = sender.send(child); // the thread waits for it
            Ok((shared, exit))
        }
        Err(error) => Err(kill(child, error)),
    }
}
