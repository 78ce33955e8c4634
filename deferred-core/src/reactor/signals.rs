//! Ctrl-C, and what else asks a process to end.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::process;

use parking_lot::Mutex;

use super::handle::Stop;
use super::{Reactor, ReactorHandle};
use crate::deferred::Deferred;
use crate::reactor::inbox::Call;

/// What a shell shows for a process that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Those that are stopped by a signal, with how often that was done.
struct Listeners {
    reactors: Vec<(ReactorHandle, u32)>,
    /// The process has our handler.
    heard: bool,
}

static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { reactors: Vec::new(), heard: false });

impl Reactor {
    /// Lets Ctrl-C stop this reactor, and on Unix `SIGTERM` and `SIGHUP`, until it is closed. [`react`](crate::react)
    /// does this by itself; whoever drives a reactor otherwise decides.
    ///
    /// The first signal is a [`stop`](Self::stop), with the [shutdown](crate::SystemEvent::Shutdown). A second one ends
    /// what that waits for, as its [deadline](Self::set_shutdown_deadline) would. A third one ends the process with the
    /// code 130, as does one that comes when no reactor listens any more. A signal stops all reactors that listen.
    ///
    /// The handler is the process's, set at the first call and never taken back; it runs on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the process has a handler for such a signal already, which stays; let it call
    /// [`ReactorHandle::stop`].
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::park;
    ///
    /// park::run(|reactor| {
    ///     reactor.stop_on_signals().expect("nobody else handles signals here");
    ///     # reactor.stop();
    /// });
    /// ```
    pub fn stop_on_signals(&self) -> Result<(), SignalsTaken> {
        let mut listeners = LISTENERS.lock();
        if !listeners.heard {
            ctrlc::try_set_handler(on_signal).map_err(SignalsTaken)?;
            listeners.heard = true;
        }
        listeners.reactors.retain(|(reactor, _)| !reactor.is_closed());
        listeners.reactors.push((self.handle(), 0));
        Ok(())
    }
}

/// On the thread that waits for signals.
fn on_signal() {
    let mut listeners = LISTENERS.lock();
    listeners.reactors.retain_mut(|(reactor, signals)| {
        *signals += 1;
        let told = match signals {
            1 => reactor.post(Stop),
            2 => reactor.post(StopWaiting),
            _ => process::exit(INTERRUPTED),
        };
        told.is_ok()
    });
    if listeners.reactors.is_empty() {
        process::exit(INTERRUPTED);
    }
}

struct StopWaiting;

impl Call for StopWaiting {
    fn call(self: Box<Self>, reactor: &Reactor, _: &'static Location<'static>) -> Deferred<()> {
        reactor.stop_waiting();
        Deferred::succeed(())
    }
}

/// Signals cannot be listened to, most likely since the process has a handler of its own, which stays.
#[derive(Debug)]
pub struct SignalsTaken(ctrlc::Error);

impl fmt::Display for SignalsTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signal cannot stop the reactor; if the process has a handler of its own, let that call ReactorHandle::stop")
    }
}

impl Error for SignalsTaken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
