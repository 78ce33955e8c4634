//! Signals: Ctrl-C and `SIGTERM` stop reactors, and `SIGUSR1` has them report what is pending.

use std::io;

use super::Reactor;

impl Reactor {
    /// Lets Ctrl-C (`SIGINT`) and `SIGTERM` stop this reactor, until it is closed.
    /// [`react`](crate::park::react) and `run` call this by themselves; a program that drives a
    /// reactor in another way may call it.
    /// [`driver::without_signals`](crate::driver::without_signals) runs a loop without it.
    ///
    /// The first signal calls [`stop`](Self::stop), with the
    /// [shutdown](crate::SystemEvent::Shutdown). A second one ends the shutdown's wait, like its
    /// [deadline](Self::set_shutdown_deadline). A third one ends the process, as does a signal that
    /// comes when no reactor listens any more: with the signal's default action. A signal stops all
    /// reactors that listen.
    ///
    /// A signal that the process has ignored from its start stays ignored. `nohup` starts processes
    /// like that, and so may a script in the background. (Only on Linux this is detected.)
    ///
    /// The first call starts a thread, which waits for signals as long as the process lives.
    /// Existing handlers of the process are called too. A process that must survive the signal,
    /// also when no reactor listens, should not call this: its own handler can call
    /// [`ReactorHandle::stop`](crate::ReactorHandle::stop).
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it does not let the process listen. Returns `Unsupported`
    /// on systems other than Unix, where Ctrl-C ends the process.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::park;
    ///
    /// park::run(|reactor| {
    ///     reactor.stop_on_signals().expect("this is a Unix");
    ///     # reactor.stop();
    /// });
    /// ```
    pub fn stop_on_signals(&self) -> io::Result<()> {
        listen::stop_on_signals(self)
    }

    /// Has `SIGUSR1` [report](crate::report) what is [pending](Self::pending), until this reactor
    /// is closed. All reactors that listen report, each on its own thread, in its next turn.
    ///
    /// Without [inspection](crate::inspect) the report lists timers only. A loop that is blocked
    /// reports when the blocking call has ended.
    ///
    /// The first call starts a thread, which waits for the signal as long as the process lives.
    /// From then on the signal does not end the process.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it does not let the process listen. Returns `Unsupported`
    /// on systems other than Unix.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{inspect, park};
    ///
    /// let _on = inspect::enable();
    /// park::run(|reactor| {
    ///     // `kill -USR1` then lists what the program waits for.
    ///     reactor.report_pending_on_sigusr1().expect("this is a Unix");
    ///     # reactor.stop();
    /// });
    /// ```
    pub fn report_pending_on_sigusr1(&self) -> io::Result<()> {
        listen::report_pending_on_sigusr1(self)
    }
}

#[cfg(not(unix))]
mod listen {
    use super::{Reactor, io};

    pub(super) fn stop_on_signals(_: &Reactor) -> io::Result<()> {
        unsupported()
    }

    pub(super) fn report_pending_on_sigusr1(_: &Reactor) -> io::Result<()> {
        unsupported()
    }

    fn unsupported() -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "signals are supported on Unix only"))
    }
}

#[cfg(unix)]
mod listen {
    use crate::error::CallSite;
    use std::panic::Location;
    use std::thread;

    use parking_lot::Mutex;
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    use super::{Reactor, io};
    use crate::deferred::Deferred;
    use crate::reactor::ReactorHandle;
    use crate::reactor::handle::Stop;
    use crate::reactor::inbox::Call;

    /// The reactors that listen for the same signals.
    struct Listeners {
        /// Each with the number of signals that it has received.
        reactors: Vec<(ReactorHandle, u32)>,
        /// Whether the thread was started.
        has_thread: bool,
    }

    impl Listeners {
        const fn new() -> Listeners {
            Listeners { reactors: Vec::new(), has_thread: false }
        }

        /// Adds a reactor. The first call starts the thread, which calls `deliver` for each signal.
        fn add(&mut self, reactor: &Reactor, signals: &[i32], deliver: fn(i32)) -> io::Result<()> {
            if !self.has_thread {
                let mut signals = Signals::new(signals.iter().filter(|signal| !is_ignored(**signal)))?;
                let wait = move || signals.forever().for_each(deliver);
                thread::Builder::new().name("deferred-signals".into()).spawn(wait)?;
                self.has_thread = true;
            }
            self.reactors.retain(|(reactor, _)| !reactor.is_closed());
            self.reactors.push((reactor.handle(), 0));
            Ok(())
        }
    }

    static STOP: Mutex<Listeners> = Mutex::new(Listeners::new());
    static REPORT: Mutex<Listeners> = Mutex::new(Listeners::new());

    pub(super) fn stop_on_signals(reactor: &Reactor) -> io::Result<()> {
        STOP.lock().add(reactor, &[SIGINT, SIGTERM], stop)
    }

    pub(super) fn report_pending_on_sigusr1(reactor: &Reactor) -> io::Result<()> {
        REPORT.lock().add(reactor, &[SIGUSR1], report_pending)
    }

    /// Returns `true` if the process ignores the signal, as far as the system shows.
    fn is_ignored(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    fn report_pending(_: i32) {
        REPORT.lock().reactors.retain(|(reactor, _)| reactor.post(ReportPending, Location::caller()).is_ok());
    }

    fn stop(signal: i32) {
        let mut listeners = STOP.lock();
        let mut handled = false;
        listeners.reactors.retain_mut(|(reactor, received)| {
            *received += 1;
            let posted = match received {
                1 => reactor.post(Stop, Location::caller()),
                2 => reactor.post(StopWaiting, Location::caller()),
                _ => return true,
            };
            handled |= posted.is_ok();
            posted.is_ok()
        });
        if !handled {
            // The default action of the signal ends the process. An error cannot be reported
            // anywhere.
            let _ = emulate_default_handler(signal);
        }
    }

    struct ReportPending;

    impl Call for ReportPending {
        fn call(self: Box<Self>, reactor: &Reactor, _: CallSite) -> Deferred<()> {
            reactor.report_pending("after SIGUSR1");
            Deferred::succeed(())
        }
    }

    struct StopWaiting;

    impl Call for StopWaiting {
        fn call(self: Box<Self>, reactor: &Reactor, _: CallSite) -> Deferred<()> {
            reactor.stop_waiting(None);
            Deferred::succeed(())
        }
    }
}
