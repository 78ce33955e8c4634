//! Ctrl-C, and what else asks a process to end.

use std::io;

use super::Reactor;

impl Reactor {
    /// Lets Ctrl-C (`SIGINT`) and `SIGTERM` stop this reactor, until it is closed.
    /// [`react`](crate::park::react) does this by itself; whoever drives a reactor otherwise
    /// decides.
    ///
    /// The first signal is a [`stop`](Self::stop), with the
    /// [shutdown](crate::SystemEvent::Shutdown). A second one ends what that waits for, as its
    /// [deadline](Self::set_shutdown_deadline) would. A third one ends the process, as does one
    /// that comes when no reactor listens any more: by the signal, as if nobody had ever listened.
    /// A signal stops all reactors that listen.
    ///
    /// A signal that the process ignores since it began, as one that was started by `nohup` or in
    /// the background of a script may, goes on being ignored. (This is known on Linux only.)
    ///
    /// The first call starts a thread, which waits for signals as long as the process lives.
    /// Handlers that the process has already are called too. One that is to survive the signal,
    /// also when no reactor listens, should not call this but have its own handler call
    /// [`ReactorHandle::stop`](crate::ReactorHandle::stop).
    ///
    /// # Errors
    ///
    /// If the system does not let the process listen, or is not a Unix: there, Ctrl-C ends the
    /// process.
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
        listen::add(self)
    }
}

#[cfg(not(unix))]
mod listen {
    use super::{Reactor, io};

    pub(super) fn add(_: &Reactor) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "signals stop a reactor on Unix only"))
    }
}

#[cfg(unix)]
mod listen {
    use crate::error::CallSite;
    use std::panic::Location;
    use std::thread;

    use parking_lot::Mutex;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    use super::{Reactor, io};
    use crate::deferred::Deferred;
    use crate::reactor::ReactorHandle;
    use crate::reactor::handle::Stop;
    use crate::reactor::inbox::Call;

    /// Those that are stopped by a signal, with the number of those that they have heard.
    struct Listeners {
        reactors: Vec<(ReactorHandle, u32)>,
        /// The thread is there.
        heard: bool,
    }

    static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { reactors: Vec::new(), heard: false });

    pub(super) fn add(reactor: &Reactor) -> io::Result<()> {
        let mut listeners = LISTENERS.lock();
        if !listeners.heard {
            let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)))?;
            let wait = move || signals.forever().for_each(tell);
            thread::Builder::new().name("deferred-signals".into()).spawn(wait)?;
            listeners.heard = true;
        }
        listeners.reactors.retain(|(reactor, _)| !reactor.is_closed());
        listeners.reactors.push((reactor.handle(), 0));
        Ok(())
    }

    /// Whether the process ignores it, as far as the system tells.
    fn is_ignored(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    fn tell(signal: i32) {
        let mut listeners = LISTENERS.lock();
        let mut obeyed = false;
        listeners.reactors.retain_mut(|(reactor, heard)| {
            *heard += 1;
            let told = match heard {
                1 => reactor.post(Stop, Location::caller()),
                2 => reactor.post(StopWaiting, Location::caller()),
                _ => return true,
            };
            obeyed |= told.is_ok();
            told.is_ok()
        });
        if !obeyed {
            // It ends the process. Where it cannot, there is nobody to be told.
            let _ = emulate_default_handler(signal);
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
